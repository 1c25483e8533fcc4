#include <immintrin.h>

#include "libtrain/metrics/fma_kernel.hpp"

namespace train::detail {
namespace {

// Two units, each done after 4 or 5 cycles, need 8 to 10 chains to stay busy; 12 and two operands
// fit into the 16 registers that AVX2 has. The values stay at 1, far from denormals.
constexpr int chains = 12;
constexpr float factor = 0.5f;
constexpr float summand = 0.5f;

[[gnu::target("avx512f")]] float run_avx512(std::int64_t iterations) {
  const __m512 a = _mm512_set1_ps(factor);
  const __m512 b = _mm512_set1_ps(summand);
  __m512 sums[chains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0f);
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
  }
  for (int i = 1; i < chains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_cvtss_f32(sums[0]);
}

[[gnu::target("avx2,fma")]] float run_avx2(std::int64_t iterations) {
  const __m256 a = _mm256_set1_ps(factor);
  const __m256 b = _mm256_set1_ps(summand);
  __m256 sums[chains];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0f);
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  }
  for (int i = 1; i < chains; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  return _mm256_cvtss_f32(sums[0]);
}

float run_sse2(std::int64_t iterations) {
  const __m128 a = _mm_set1_ps(factor);
  const __m128 b = _mm_set1_ps(summand);
  __m128 sums[chains];
  for (__m128& sum : sums) sum = _mm_set1_ps(1.0f);
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m128& sum : sums) sum = _mm_add_ps(_mm_mul_ps(sum, a), b);
  }
  for (int i = 1; i < chains; ++i) sums[0] = _mm_add_ps(sums[0], sums[i]);
  return _mm_cvtss_f32(sums[0]);
}

}  // namespace

FmaKernel widest_fma_kernel() {
  if (__builtin_cpu_supports("avx512f")) return {run_avx512, chains * 16 * 2};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {run_avx2, chains * 8 * 2};
  }
  return {run_sse2, chains * 4 * 2};
}

}  // namespace train::detail
