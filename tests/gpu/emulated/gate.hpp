#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include <cuda_runtime.h>

#include "tests/support/cuda/device_copy.hpp"

namespace train {

/// A host function that holds a stream up until it is let go.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() {
    open = true;
    while (held_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void close_on(cudaStream_t stream) {
    ++held_;
    const auto wait = [](void* gate) {
      auto& self = *static_cast<Gate*>(gate);
      while (!self.open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      --self.held_;
    };
    check_cuda(cudaLaunchHostFunc(stream, wait, this), "cudaLaunchHostFunc");
  }

  std::atomic<bool> open = false;

 private:
  std::atomic<int> held_ = 0;
};

}  // namespace train
