#include <cuda_runtime.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/fused_attention.hpp"
#include "libtrain/ops/cuda/loss_rows.hpp"
#include "libtrain/ops/cuda/matrix.hpp"
#include "libtrain/ops/cuda/peak_flops.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train {
namespace cuda {

CudaOps::CudaOps(CudaMemory& memory, AttentionKernels attention, SumOrder order)
    : memory_(memory), stream_(memory.stream()), matrix_(std::make_unique<Matrix>(memory)) {
  if (attention == AttentionKernels::cudnn_or_own) {
    fused_attention_ = std::make_unique<FusedAttention>(memory, order);
  }
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, stream_.device()),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&shared_bytes_max_, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                               stream_.device()),
        "cudaDeviceGetAttribute");
}

CudaOps::~CudaOps() {
  if (memory_.work_ends()) return;
  static_cast<void>(matrix_.release());
  static_cast<void>(fused_attention_.release());
}

std::string CudaOps::description() const {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, stream_.device()), "cudaGetDeviceProperties");
  return fmt::format("{}, attention of bf16 by {}", properties.name,
                     fused_attention_ ? fused_attention_->description() : "own kernels");
}

std::optional<double> CudaOps::peak_flops(DataType type) const {
  return cuda::peak_flops(stream_.device(), type);
}

std::int64_t CudaOps::padded_width(std::int64_t width, DataType type) const {
  return cuda::padded_width(width, type);
}

std::int64_t CudaOps::loss_rows(std::int64_t vocabulary) const {
  return cuda::loss_rows(vocabulary);
}

}  // namespace cuda

namespace {

int checked(int index) {
  const int count = count_cuda_devices();
  if (index < 0 || index >= count) {
    throw Error(fmt::format(
        "CUDA device {} does not exist: this process sees {} of them, counted from 0; start at "
        "most {} ranks on this machine, see CUDA_VISIBLE_DEVICES, or use --device cpu",
        index, count, count));
  }
  return index;
}

}  // namespace

std::unique_ptr<Device> make_cuda_device(int index, int host_threads, SumOrder order) {
  auto memory = std::make_unique<cuda::CudaMemory>(checked(index));
  auto ops = std::make_unique<cuda::CudaOps>(*memory, cuda::AttentionKernels::cudnn_or_own, order);
  const Gpu gpu{index, memory->stream().get()};
  return std::make_unique<Device>(std::move(memory), std::move(ops), host_threads, gpu);
}

}  // namespace train
