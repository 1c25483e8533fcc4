#pragma once

// Stands before libtrain/tensor/cuda/launch.cuh on the emulation's include path: the same names,
// for kernels that run on the host.

#include <cstddef>
#include <tuple>
#include <utility>

#include <cuda_runtime.h>

#include "libtrain/tensor/cuda/check.hpp"
#include "libtrain/tensor/cuda/stream.hpp"
#include "tests/gpu/emulated/runtime/block.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

namespace train::cuda {

struct LaunchShape {
  dim3 grid = dim3(1);
  dim3 block = dim3(1);
  std::size_t shared_bytes = 0;
};

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            Arguments&&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  stream.use();
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  const bool taken = emulated::enqueue(stream.get(), [=] {
    // Each thread has parameters of its own, as if it could change them.
    emulated::run_grid(reinterpret_cast<const void*>(kernel), shape.grid, shape.block,
                       shape.shared_bytes, [&] { std::apply(kernel, values); });
  });
  if (!taken) check(cudaErrorInvalidResourceHandle, "launch");
}

inline std::byte* dynamic_shared() {
  return emulated::dynamic_shared_memory();
}

}  // namespace train::cuda
