#include "libtrain/tensor/cuda/cuda_memory.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/cuda/check.hpp"
#include "libtrain/tensor/size_class.hpp"

namespace train::cuda {
namespace {

// What the driver maps at a time.
constexpr std::size_t page_bytes = std::size_t{2} << 20;

}  // namespace

CudaMemory::CudaMemory(int device, std::chrono::milliseconds grace)
    : stream_(device), staging_(std::make_unique<Staging>(stream_)), grace_(grace) {}

CudaMemory::~CudaMemory() {
  // What the stream still does must not find its memory gone. That it failed was said by whoever
  // waited for it.
  if (!work_ends()) {
    static_cast<void>(staging_.release());
    return;
  }
  for (auto& [size, blocks] : free_by_size_) {
    for (void* block : blocks) cudaFree(block);
  }
}

bool CudaMemory::work_ends() const noexcept {
  // One who has waited in vain is enough.
  if (!hangs_ && !stream_.ends_within(grace_)) hangs_ = true;
  return !hangs_;
}

void* CudaMemory::allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  Block block = take_kept(size, size);
  if (block.data == nullptr) block = system_allocate(size);
  if (block.data == nullptr) block = allocate_when_full(size);
  if (block.data == nullptr) {
    throw Error(fmt::format(
        "CUDA device {} is out of memory: it refused {} bytes for a tensor while {} bytes are in "
        "use; lower --micro-batch or --context, or use a smaller model",
        stream_.device(), bytes, statistics_.bytes_in_use));
  }
  if (block.size != size) larger_.emplace(block.data, block.size);
  statistics_.bytes_in_use += block.size;
  statistics_.bytes_in_use_peak = std::max(statistics_.bytes_in_use_peak, statistics_.bytes_in_use);
  return block.data;
}

// Sizes that follow each other in turns would else move all that is kept to the driver and back in
// each step; and a small tensor must not sit in a block that a large one needs.
CudaMemory::Block CudaMemory::allocate_when_full(std::size_t size) {
  Block block = take_kept(size, 2 * size);
  if (block.data != nullptr) return block;
  const Block larger = take_kept(size, std::numeric_limits<std::size_t>::max());
  if (larger.data != nullptr) {
    give_back(larger);
    block = system_allocate(size);
    if (block.data != nullptr) return block;
  }
  give_back_kept();
  return system_allocate(size);
}

CudaMemory::Block CudaMemory::take_kept(std::size_t size_min, std::size_t size_max) {
  for (auto kept = free_by_size_.lower_bound(size_min);
       kept != free_by_size_.end() && kept->first <= size_max; ++kept) {
    if (kept->second.empty()) continue;
    void* data = kept->second.back();
    kept->second.pop_back();
    return {data, kept->first};
  }
  return {};
}

// No block when the device is full.
CudaMemory::Block CudaMemory::system_allocate(std::size_t size) {
  stream_.use();
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return {};
  }
  check(status, "cudaMalloc");
  statistics_.bytes_reserved += size;
  ++statistics_.system_allocations;
  return {data, size};
}

// Of a block that is no longer in the lists: should CUDA refuse it, nobody comes upon it again.
void CudaMemory::give_back(Block block) {
  statistics_.bytes_reserved -= block.size;
  stream_.use();
  check(cudaFree(block.data), "cudaFree");
}

void CudaMemory::give_back_kept() {
  while (true) {
    const Block block = take_kept(0, std::numeric_limits<std::size_t>::max());
    if (block.data == nullptr) return;
    give_back(block);
  }
}

void CudaMemory::release(void* block, std::size_t bytes) noexcept {
  std::size_t size = size_class(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  if (const auto larger = larger_.find(block); larger != larger_.end()) {
    size = larger->second;
    larger_.erase(larger);
  }
  statistics_.bytes_in_use -= size;
  free_by_size_[size].push_back(block);
}

void CudaMemory::copy_from_host(void* target, const void* source, std::size_t bytes) {
  staging_->upload(target, source, bytes);
}

// Waits first: a copy that others' copies share a stream with must not hold them up.
void CudaMemory::copy_to_host(void* target, const void* source, std::size_t bytes) {
  wait_for_work();
  copy_to_host_at_once(target, source, bytes);
}

void CudaMemory::copy_to_host_at_once(void* target, const void* source, std::size_t bytes) {
  staging_->download(target, source, bytes);
}

Memory::Statistics CudaMemory::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace train::cuda
