#include "libtrain/tensor/booked_memory.hpp"

#include "collectives/error.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train {

BookedMemory::BookedMemory(MemoryAccount& account)
    : account_(account), host_(std::make_unique<CpuMemory>()) {}

BookedMemory::~BookedMemory() = default;

void* BookedMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  invariant(alignment <= 64, "blocks begin at cache lines");
  void* block = host_->allocate(bytes);
  account_.book(bytes);
  return block;
}

void BookedMemory::do_deallocate(void* block, std::size_t bytes, std::size_t /*alignment*/) {
  account_.unbook(bytes);
  host_->release(block, bytes);
}

}  // namespace train
