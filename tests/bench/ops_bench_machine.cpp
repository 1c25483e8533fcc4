#include "tests/bench/ops_bench_machine.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <time.h>

namespace train::bench {
namespace {

constexpr int lanes = __BIGGEST_ALIGNMENT__ / sizeof(float);
using Vec [[gnu::vector_size(lanes * sizeof(float))]] = float;

// Twelve independent chains hide the latency of an addition after a product.
float spin(std::int64_t rounds, float start) {
  constexpr int chains = 12;
  Vec sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = Vec{} + start + static_cast<float>(i);
  const Vec factor = Vec{} + 0.999999f, shift = Vec{} + 1e-6f;
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * factor + shift;
  }
  float total = 0.0f;
  for (int i = 0; i < chains; ++i) total += sum[i][0];
  return total;
}

double now_seconds(Clock clock) {
  timespec now{};
  clock_gettime(clock == Clock::wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

double median_seconds(Clock clock, const std::function<void()>& call) {
  constexpr std::size_t calls_min = 5, calls_max = 200;
  constexpr double enough_s = 0.05;
  call();
  std::vector<double> seconds;
  double total_s = 0.0;
  while (seconds.size() < calls_min || (total_s < enough_s && seconds.size() < calls_max)) {
    const double start = now_seconds(clock);
    call();
    seconds.push_back(now_seconds(clock) - start);
    total_s += seconds.back();
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

Machine measure_machine(Clock clock, int threads) {
  constexpr std::int64_t rounds = 4'000'000;
  std::vector<float> results(static_cast<std::size_t>(threads) * 64);
  const double spin_s = median_seconds(clock, [&] {
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < threads; ++i) results[i * 64] = spin(rounds, static_cast<float>(i));
  });
  constexpr std::int64_t count = 16 << 20;
  std::vector<float> a(count), b(count, 1.0f), c(count, 2.0f);
  const double triad_s = median_seconds(clock, [&] {
#pragma omp parallel for simd num_threads(threads)
    for (std::int64_t i = 0; i < count; ++i) a[i] = b[i] + 3.0f * c[i];
  });
  return {2.0 * 12 * lanes * static_cast<double>(rounds) * threads / spin_s * 1e-9,
          12.0 * count / triad_s * 1e-9};
}

}  // namespace train::bench
