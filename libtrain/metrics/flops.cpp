#include "libtrain/metrics/flops.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/metrics/fma_kernel.hpp"

namespace train {
namespace {

/// Seconds from when the first of `threads` threads starts until the last ends.
double window_s(const detail::FmaKernel& kernel, int threads, std::int64_t iterations) {
  using SteadyClock = std::chrono::steady_clock;
  SteadyClock::time_point begin;
  float kept = 0;
#pragma omp parallel num_threads(threads) reduction(+ : kept)
  {
#pragma omp barrier
#pragma omp master
    begin = SteadyClock::now();
    kept += kernel.run(iterations);
  }
  const double elapsed_s = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  invariant(kept > 0, "the multiply-adds have run");
  return elapsed_s;
}

}  // namespace

double flops_per_token(const ModelSize& size) {
  return 6.0 * static_cast<double>(size.parameters) + 12.0 * static_cast<double>(size.layers) *
                                                          static_cast<double>(size.width) *
                                                          static_cast<double>(size.context);
}

double model_flops_utilisation(double flops_per_token, double tokens_per_s, double peak_flops) {
  if (!(peak_flops > 0)) return std::numeric_limits<double>::quiet_NaN();
  return flops_per_token * tokens_per_s / peak_flops;
}

double measure_peak_flops(int threads) {
  if (threads < 1) {
    throw Error(fmt::format("cannot measure peak FLOP/s with {} threads: at least 1", threads));
  }
  const detail::FmaKernel kernel = detail::widest_fma_kernel();
  constexpr int windows = 8;
  constexpr double wanted_s = 0.005;
  // Threads start and clocks rise while the length of a window is found.
  std::int64_t iterations = 10'000;
  double elapsed_s = window_s(kernel, threads, iterations);
  while (elapsed_s < wanted_s / 2) {
    iterations *= 2;
    elapsed_s = window_s(kernel, threads, iterations);
  }
  for (int i = 0; i < windows; ++i) {
    elapsed_s = std::min(elapsed_s, window_s(kernel, threads, iterations));
  }
  return kernel.flops_per_iteration * static_cast<double>(iterations) * threads / elapsed_s;
}

}  // namespace train
