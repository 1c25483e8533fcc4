#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

namespace train::nccl {

/// Throws Error unless `status` is success: names the call, CUDA's words and what to do.
void check(cudaError_t status, const char* call);
/// The same for NCCL; `comm` (or null) may know more. A call that is in progress is no failure.
void check(ncclResult_t status, const char* call, ncclComm_t comm = nullptr);

}  // namespace train::nccl
