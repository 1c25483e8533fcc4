#include "libtrain/tensor/cuda/cuda_memory.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/cuda/check.hpp"
#include "libtrain/tensor/size_class.hpp"

namespace train::cuda {
namespace {

// What the driver maps at a time.
constexpr std::size_t page_bytes = std::size_t{2} << 20;

}  // namespace

CudaMemory::CudaMemory(int device) : stream_(device), staging_(stream_) {}

CudaMemory::~CudaMemory() {
  cudaSetDevice(stream_.device());
  // What the stream still does must not find its memory gone. That it failed was said by whoever
  // waited for it.
  cudaStreamSynchronize(stream_.get());
  for (auto& [size, blocks] : free_by_size_) {
    for (void* block : blocks) cudaFree(block);
  }
}

void* CudaMemory::allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  auto& blocks = free_by_size_[size];
  void* block = nullptr;
  if (!blocks.empty()) {
    block = blocks.back();
    blocks.pop_back();
  } else {
    block = system_allocate(size);
    if (block == nullptr) {
      throw Error(fmt::format(
          "CUDA device {} is out of memory: it refused {} bytes for a tensor while {} bytes are in "
          "use; lower --micro-batch or --context, or use a smaller model",
          stream_.device(), bytes, statistics_.bytes_in_use));
    }
    statistics_.bytes_reserved += size;
    ++statistics_.system_allocations;
  }
  statistics_.bytes_in_use += size;
  statistics_.bytes_in_use_peak = std::max(statistics_.bytes_in_use_peak, statistics_.bytes_in_use);
  return block;
}

// Null when the device is full even without the blocks that are kept.
void* CudaMemory::system_allocate(std::size_t size) {
  stream_.use();
  void* block = nullptr;
  cudaError_t status = cudaMalloc(&block, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    give_back_kept();
    status = cudaMalloc(&block, size);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMalloc");
  return block;
}

void CudaMemory::give_back_kept() {
  for (auto& [size, blocks] : free_by_size_) {
    for (void* block : blocks) {
      check(cudaFree(block), "cudaFree");
      statistics_.bytes_reserved -= size;
    }
    blocks.clear();
  }
}

void CudaMemory::release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = size_class(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  statistics_.bytes_in_use -= size;
  free_by_size_[size].push_back(block);
}

void CudaMemory::copy_from_host(void* target, const void* source, std::size_t bytes) {
  staging_.upload(target, source, bytes);
}

void CudaMemory::copy_to_host(void* target, const void* source, std::size_t bytes) {
  staging_.download(target, source, bytes);
}

Memory::Statistics CudaMemory::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace train::cuda
