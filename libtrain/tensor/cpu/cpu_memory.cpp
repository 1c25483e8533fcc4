#include "libtrain/tensor/cpu/cpu_memory.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/mman.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/size_class.hpp"

namespace train {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

void* system_allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= huge_page_bytes ? huge_page_bytes : 64;
  void* block = std::aligned_alloc(alignment, bytes);
  // Advice only: without huge pages the block works all the same.
  if (block != nullptr && bytes >= huge_page_bytes) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

// Of nothing, too, which lies nowhere.
void copy(void* target, const void* source, std::size_t bytes) {
  std::copy_n(static_cast<const std::byte*>(source), bytes, static_cast<std::byte*>(target));
}

}  // namespace

CpuMemory::~CpuMemory() {
  for (auto& [size, blocks] : free_by_size_) {
    for (void* block : blocks) std::free(block);
  }
}

void* CpuMemory::allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes, huge_page_bytes);
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
          "out of memory: the system refused {} bytes for a tensor while {} bytes are in use; "
          "lower --micro-batch or --context, or use a smaller model",
          bytes, statistics_.bytes_in_use));
    }
    statistics_.bytes_reserved += size;
    ++statistics_.system_allocations;
  }
  statistics_.bytes_in_use += size;
  statistics_.bytes_in_use_peak = std::max(statistics_.bytes_in_use_peak, statistics_.bytes_in_use);
  return block;
}

void CpuMemory::release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = size_class(bytes, huge_page_bytes);
  std::lock_guard lock(mutex_);
  statistics_.bytes_in_use -= size;
  free_by_size_[size].push_back(block);
}

void CpuMemory::copy_from_host(void* target, const void* source, std::size_t bytes) {
  copy(target, source, bytes);
}

void CpuMemory::copy_to_host(void* target, const void* source, std::size_t bytes) {
  copy(target, source, bytes);
}

Memory::Statistics CpuMemory::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace train
