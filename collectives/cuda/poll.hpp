#pragma once

#include <chrono>
#include <thread>

#include <cuda_runtime.h>

#include "collectives/work.hpp"

namespace train {

/// Asks `query`, a call such as cudaStreamQuery, until it answers something else than "not ready",
/// and returns that; cudaErrorNotReady at `deadline`. CUDA's own waits know no deadline: work that
/// hangs would hold the host for ever. Most waits are short, so the first are without pause.
template <typename Query>
cudaError_t poll_until(Deadline deadline, Query query) {
  constexpr std::chrono::milliseconds without_pause{2};
  constexpr std::chrono::microseconds pause{50};
  const auto begin = Clock::now();
  while (true) {
    const cudaError_t status = query();
    if (status != cudaErrorNotReady) return status;
    cudaGetLastError();  // which keeps even this for whoever looks next
    const auto now = Clock::now();
    if (now >= deadline) return status;
    if (now - begin < without_pause) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(pause);
    }
  }
}

}  // namespace train
