#pragma once

// Stands before collectives/nccl/launch.cuh on the emulation's include path.

#include <tuple>

#include <cuda_runtime.h>

#include "collectives/nccl/check.hpp"
#include "tests/gpu/emulated/runtime/block.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

namespace train::nccl {

template <typename... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
            cudaStream_t stream, Parameters... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  const bool taken = emulated::enqueue(stream, [=] {
    emulated::run_grid(reinterpret_cast<const void*>(kernel), dim3(blocks), dim3(threads), 0,
                       [&] { std::apply(kernel, values); });
  });
  if (!taken) check(cudaErrorInvalidResourceHandle, name);
}

}  // namespace train::nccl
