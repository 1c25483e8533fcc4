#include "libtrain/tensor/cuda/check.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::cuda {
namespace {

const char* way_out(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "lower --micro-batch or --context, or use a smaller model";
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
      return "see which GPUs nvidia-smi lists and what CUDA_VISIBLE_DEVICES leaves of them, or use "
             "--device cpu";
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is older than the CUDA that this program was built with: update "
             "the driver, or use --device cpu";
    case cudaErrorNoKernelImageForDevice:
      return "the program holds no code for this GPU: build with its CMAKE_CUDA_ARCHITECTURES";
    case cudaErrorSystemNotReady:
      return "the GPUs of a node with NVSwitch need the service nvidia-fabricmanager, of the "
             "driver's very version: see systemctl status nvidia-fabricmanager";
    case cudaErrorSystemDriverMismatch:
      return "the driver's libraries are of another version than the kernel's module, as after an "
             "update: restart the machine";
    case cudaErrorDevicesUnavailable:
      return "another process has the GPU for itself: see nvidia-smi, and its compute mode "
             "(nvidia-smi -c DEFAULT)";
    case cudaErrorECCUncorrectable:
      return "the GPU's memory is damaged: see nvidia-smi -q -d ECC, and take another GPU";
    default:
      return "run again under compute-sanitizer to find the kernel; where that is clean, look at "
             "the driver's messages (dmesg: Xid)";
  }
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  int device = -1;
  cudaGetDevice(&device);
  cudaGetLastError();  // an error that was reported is not found again by the next launch
  throw Error(fmt::format("CUDA device {}: {} failed: {} ({}); {}", device, what,
                          cudaGetErrorString(status), cudaGetErrorName(status), way_out(status)));
}

}  // namespace train::cuda
