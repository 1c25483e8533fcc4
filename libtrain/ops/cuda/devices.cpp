#include <cuda_runtime.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train {
namespace {

std::string words(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// CUDA says the same of no driver and of an old one.
[[noreturn]] void refuse_driver() {
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  cudaGetLastError();
  if (driver == 0) {
    throw Error(
        "--device cuda: this machine has no NVIDIA driver; run on one with a GPU, or take --device "
        "cpu");
  }
  throw Error(fmt::format(
      "--device cuda: the NVIDIA driver is too old: it serves CUDA up to {}, this program "
      "was built with {}; update the driver, build with an older CUDA, or take --device cpu",
      words(driver), words(runtime)));
}

}  // namespace

int count_cuda_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) refuse_driver();
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    cudaGetLastError();
    throw Error(
        "--device cuda: the driver sees no GPU; see what nvidia-smi lists and what "
        "CUDA_VISIBLE_DEVICES leaves of it, or take --device cpu");
  }
  cuda::check(status, "cudaGetDeviceCount");
  return count;
}

std::string identity_of_cuda_device(int index) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  std::string identity;
  for (const char byte : properties.uuid.bytes) {
    identity += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return identity;
}

}  // namespace train
