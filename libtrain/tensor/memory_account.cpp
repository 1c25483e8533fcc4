#include "libtrain/tensor/memory_account.hpp"

#include "collectives/error.hpp"

namespace train {

const char* name_of(MemoryUse use) {
  switch (use) {
    case MemoryUse::parameters:
      return "parameters";
    case MemoryUse::gradients:
      return "gradients";
    case MemoryUse::optimizer_state:
      return "optimizer";
    case MemoryUse::activations:
      return "activations";
    case MemoryUse::communication:
      return "buckets";
    case MemoryUse::lanes:
      return "lanes";
  }
  unreachable("unknown MemoryUse");
}

void* MemoryAccount::allocate(std::size_t bytes) {
  void* block = base_.allocate(bytes);
  book(bytes);
  return block;
}

void MemoryAccount::release(void* block, std::size_t bytes) noexcept {
  unbook(bytes);
  base_.release(block, bytes);
}

void MemoryAccount::book(std::size_t bytes) noexcept {
  const std::size_t now = in_use_.fetch_add(bytes) + bytes;
  std::size_t peak = peak_.load();
  while (peak < now && !peak_.compare_exchange_weak(peak, now)) {
  }
}

void MemoryAccount::copy_from_host(void* target, const void* source, std::size_t bytes) {
  base_.copy_from_host(target, source, bytes);
}

void MemoryAccount::copy_to_host(void* target, const void* source, std::size_t bytes) {
  base_.copy_to_host(target, source, bytes);
}

void MemoryAccount::copy_to_host_at_once(void* target, const void* source, std::size_t bytes) {
  base_.copy_to_host_at_once(target, source, bytes);
}

Memory::Statistics MemoryAccount::statistics() const {
  Statistics statistics = base_.statistics();
  statistics.bytes_in_use = in_use_;
  statistics.bytes_in_use_peak = peak_;
  return statistics;
}

void MemoryAccount::reset_peak() {
  peak_ = in_use_.load();
}

}  // namespace train
