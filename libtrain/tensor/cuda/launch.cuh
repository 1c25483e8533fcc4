#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#include <cuda_runtime.h>

#include "libtrain/tensor/cuda/check.hpp"
#include "libtrain/tensor/cuda/stream.hpp"

// The only way in which kernels are started, and in which they find their dynamic shared memory.

namespace train::cuda {

struct LaunchShape {
  dim3 grid = dim3(1);
  dim3 block = dim3(1);
  std::size_t shared_bytes = 0;  ///< dynamic_shared() of each block
};

namespace detail {
/// Starts `kernel`, whose parameters lie behind `parameters`; errors name the kernel.
void launch(const void* kernel, const LaunchShape& shape, const Stream& stream, void** parameters);
}  // namespace detail

/// Gives `kernel(arguments…)` to the stream, on the stream's device. A grid without blocks does
/// nothing. Arguments are converted to the kernel's parameters and copied before the call returns.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* parameters[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        detail::launch(reinterpret_cast<const void*>(kernel), shape, stream, parameters);
      },
      values);
}

/// The block's dynamic shared memory, aligned to 16 bytes.
__device__ __forceinline__ std::byte* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char train_dynamic_shared[];
  return reinterpret_cast<std::byte*>(train_dynamic_shared);
}

}  // namespace train::cuda
