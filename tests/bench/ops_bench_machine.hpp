#pragma once

#include <functional>

namespace train::bench {

/// What counts as time: the wall's, or the processor's, spent by this process. On a shared machine
/// the latter tells more, with one thread: threads that wait for each other count as well.
enum class Clock { wall, processor };

/// Median seconds of a call, after one to warm up: of five calls, or of as many as fill 50 ms.
double median_seconds(Clock clock, const std::function<void()>& call);

/// What the machine can do in this run, on as many threads as the ops use.
struct Machine {
  double gflops = 0.0;           ///< f32 fused multiply-adds in registers
  double gigabytes_per_s = 0.0;  ///< triad a = b + s·c over arrays beyond the caches, 12 B/element
};
Machine measure_machine(Clock clock, int threads);

}  // namespace train::bench
