#pragma once

#include <cuda_runtime.h>

#include "collectives/unique_handle.hpp"

namespace train {

struct StreamTraits {
  using Handle = cudaStream_t;
  static Handle empty() { return nullptr; }
  static void close(Handle stream) noexcept { cudaStreamDestroy(stream); }
};

struct EventTraits {
  using Handle = cudaEvent_t;
  static Handle empty() { return nullptr; }
  static void close(Handle event) noexcept { cudaEventDestroy(event); }
};

/// A stream and an event of CUDA, destroyed with their owner.
using StreamHandle = UniqueHandle<StreamTraits>;
using EventHandle = UniqueHandle<EventTraits>;

}  // namespace train
