#include "libtrain/stop_signal.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

#include "libtrain/ops/cpu/gemm.hpp"

namespace train {
namespace {

TEST_CASE("a signal is remembered, and leaves the matrix product that it interrupts as it was") {
  constexpr int extent = 192;
  const std::vector<float> a(extent * extent, 0.5f);
  const std::vector<float> b(extent * extent, 0.25f);
  std::vector<float> c(extent * extent);
  cpu::Gemm gemm(1);
  const StopSignal signal;
  CHECK(!signal.received());

  std::atomic<bool> over = false;
  std::thread sender([&over] {
    while (!over) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::yield();
    }
  });
  std::size_t wrong = 0;
  for (int i = 0; i < 200; ++i) {
    const bool transposed = i % 2 == 1;
    gemm.multiply(extent, extent, extent, {a.data(), DataType::f32, extent, transposed},
                  {b.data(), DataType::f32, extent, !transposed}, 0.0f, c.data(), extent);
    for (const float value : c) {
      if (value != 0.125f * extent) ++wrong;
    }
  }
  over = true;
  sender.join();
  CHECK(wrong == 0);
  CHECK(signal.received());
}

}  // namespace
}  // namespace train
