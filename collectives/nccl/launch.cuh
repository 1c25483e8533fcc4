#pragma once

#include <cuda_runtime.h>

#include "collectives/nccl/check.hpp"

// How the kernels of this folder are started. A few lines of their own, because collectives know
// nothing of libtrain's tensors.

namespace train::nccl {

/// kernel(arguments…) on `blocks` blocks of `threads` threads.
template <typename... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
            cudaStream_t stream, Parameters... arguments) {
  void* parameters[] = {static_cast<void*>(&arguments)...};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(blocks), dim3(threads),
                         parameters, 0, stream),
        name);
}

}  // namespace train::nccl
