#include "collectives/nccl/check.hpp"

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::nccl {
namespace {

constexpr const char* memory_way_out =
    "the GPU's memory is full: lower --micro-batch or --context, or use a smaller model";

const char* way_out(ncclResult_t status, std::string_view more) {
  // To NCCL that is one of CUDA's errors like any other.
  if (more.find("out of memory") != std::string_view::npos) return memory_way_out;
  switch (status) {
    case ncclUnhandledCudaError:
      return "the GPU or its driver failed: look at nvidia-smi and the system's log (Xid)";
    case ncclSystemError:
      return "the system or the network failed: NCCL_DEBUG=WARN says which call";
    case ncclRemoteError:
      return "another rank failed or the network to it: look at what the other ranks say";
    case ncclInvalidArgument:
    case ncclInvalidUsage:
      return "NCCL_DEBUG=WARN says what it does not accept; two ranks cannot share a GPU";
    default:
      return "NCCL_DEBUG=WARN says more";
  }
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that was reported is not found again by the next call
  if (status == cudaErrorMemoryAllocation) {
    throw Error(fmt::format("{} failed in the collectives of GPUs: {} ({}); {}", call,
                            cudaGetErrorString(status), cudaGetErrorName(status), memory_way_out));
  }
  throw Error(
      fmt::format("{} failed in the collectives of GPUs: {} ({}). After such an error the "
                  "process cannot use the GPU any more: look at nvidia-smi, then restart",
                  call, cudaGetErrorString(status), cudaGetErrorName(status)));
}

void check(ncclResult_t status, const char* call, ncclComm_t comm) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const std::string more = comm ? ncclGetLastError(comm) : "";
  throw Error(fmt::format("{} failed: {}{}; {}", call, ncclGetErrorString(status),
                          more.empty() ? "" : fmt::format(" ({})", more), way_out(status, more)));
}

}  // namespace train::nccl
