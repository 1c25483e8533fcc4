#pragma once

#include <cuda_runtime.h>

namespace train::cuda {

/// Throws Error unless `status` is success: names what was tried (a call of the CUDA runtime, or a
/// kernel), the calling thread's device, CUDA's words, and the way out.
void check(cudaError_t status, const char* what);

}  // namespace train::cuda
