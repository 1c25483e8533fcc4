#pragma once

#include <cuda_runtime.h>

#include "collectives/unique_handle.hpp"

namespace train::nccl {

struct StreamTraits {
  using Handle = cudaStream_t;
  static Handle empty() { return nullptr; }
  static void close(Handle stream) noexcept { cudaStreamDestroy(stream); }
};
using Stream = UniqueHandle<StreamTraits>;

struct EventTraits {
  using Handle = cudaEvent_t;
  static Handle empty() { return nullptr; }
  static void close(Handle event) noexcept { cudaEventDestroy(event); }
};
using Event = UniqueHandle<EventTraits>;

}  // namespace train::nccl
