#include "libtrain/metrics/flops.hpp"

#include <chrono>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/metrics/fma_kernel.hpp"

namespace train {
namespace {

struct Window {
  double elapsed_s = 0;  // from when the first thread starts until the last ends
  double flops_per_s = 0;
};

Window measure_window(const detail::FmaKernel& kernel, int threads, std::int64_t iterations) {
  using SteadyClock = std::chrono::steady_clock;
  SteadyClock::time_point begin;
  float kept = 0;
  int ran = 0;  // a limit of the environment may give fewer threads than asked for
#pragma omp parallel num_threads(threads) reduction(+ : kept, ran)
  {
#pragma omp barrier
#pragma omp master
    begin = SteadyClock::now();
    kept += kernel.run(iterations);
    ran += 1;
  }
  Window window;
  window.elapsed_s = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  window.flops_per_s =
      kernel.flops_per_iteration * static_cast<double>(iterations) * ran / window.elapsed_s;
  invariant(kept > 0, "the multiply-adds have run");
  return window;
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
  Window best = measure_window(kernel, threads, iterations);
  while (best.elapsed_s < wanted_s / 2) {
    iterations *= 2;
    best = measure_window(kernel, threads, iterations);
  }
  for (int i = 0; i < windows; ++i) {
    const Window window = measure_window(kernel, threads, iterations);
    if (window.flops_per_s > best.flops_per_s) best = window;
  }
  return best.flops_per_s;
}

}  // namespace train
