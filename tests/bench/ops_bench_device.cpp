#include "tests/bench/ops_bench_device.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

namespace train::bench {
namespace {

using WallClock = std::chrono::steady_clock;

double seconds_of(const Device& device, int calls, const std::function<void()>& call) {
  // What comes to the host has waited for the work before it.
  const Tensor mark(device.memory(), {1}, DataType::f32);
  float host = 0.0f;
  const auto wait = [&] { mark.copy_to_host(std::as_writable_bytes(std::span(&host, 1))); };
  device.ops().fill(mark, 0.0f);
  wait();
  const auto begin = WallClock::now();
  for (int i = 0; i < calls; ++i) call();
  wait();
  return std::chrono::duration<double>(WallClock::now() - begin).count();
}

}  // namespace

double median_seconds_on(const Device& device, const std::function<void()>& call) {
  constexpr double wanted_s = 0.01;
  constexpr int runs = 7;
  seconds_of(device, 2, call);
  const double once = seconds_of(device, 1, call);
  const int calls = std::clamp(static_cast<int>(wanted_s / once), 1, 1000);
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) seconds.push_back(seconds_of(device, calls, call) / calls);
  std::ranges::nth_element(seconds, seconds.begin() + runs / 2);
  return seconds[runs / 2];
}

Machine measure_device(const Device& device, DataType type) {
  const Tensor from(device.memory(), {64 << 20}, DataType::f32);
  const Tensor to(device.memory(), {64 << 20}, DataType::f32);
  device.ops().fill(from, 1.0f);
  const double seconds = median_seconds_on(device, [&] { device.ops().convert(from, to); });
  Machine machine;
  machine.gflops = device.ops().peak_flops(type).value_or(0.0) * 1e-9;
  machine.gigabytes_per_s = 2.0 * static_cast<double>(from.bytes()) / seconds * 1e-9;
  return machine;
}

}  // namespace train::bench
