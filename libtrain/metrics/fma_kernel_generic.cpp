#include "libtrain/metrics/fma_kernel.hpp"

namespace train::detail {
namespace {

// The compiler's own vectors of 128 bits, which every 64-bit processor has in some form.
using Lanes = float __attribute__((vector_size(16)));
constexpr int lanes = 4;
constexpr int chains = 12;

float run_lanes(std::int64_t iterations) {
  const Lanes a = {0.5f, 0.5f, 0.5f, 0.5f};
  Lanes sums[chains];
  for (Lanes& sum : sums) sum = a + a;
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (Lanes& sum : sums) sum = sum * a + a;
  }
  for (int i = 1; i < chains; ++i) sums[0] += sums[i];
  return sums[0][0];
}

}  // namespace

FmaKernel widest_fma_kernel() {
  return {run_lanes, chains * lanes * 2};
}

}  // namespace train::detail
