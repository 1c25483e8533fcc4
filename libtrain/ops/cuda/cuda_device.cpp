#include <cuda_runtime.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/matrix.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train {
namespace cuda {

CudaOps::CudaOps(CudaMemory& memory)
    : memory_(memory), stream_(memory.stream()), matrix_(std::make_unique<Matrix>(memory)) {
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, stream_.device()),
        "cudaDeviceGetAttribute");
}

CudaOps::~CudaOps() = default;

}  // namespace cuda

namespace {

int devices() {
  int count = 0;
  cuda::check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

int checked(int index) {
  const int count = devices();
  if (index < 0 || index >= count) {
    throw Error(fmt::format(
        "CUDA device {} does not exist: this process sees {} of them, counted from 0; start at "
        "most {} ranks on this machine, see CUDA_VISIBLE_DEVICES, or use --device cpu",
        index, count, count));
  }
  return index;
}

}  // namespace

std::unique_ptr<Device> make_cuda_device(int index) {
  auto memory = std::make_unique<cuda::CudaMemory>(checked(index));
  auto ops = std::make_unique<cuda::CudaOps>(*memory);
  return std::make_unique<Device>(std::move(memory), std::move(ops));
}

}  // namespace train
