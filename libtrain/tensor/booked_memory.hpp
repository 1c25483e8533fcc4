#pragma once

#include <memory_resource>

#include "libtrain/tensor/memory_account.hpp"

namespace train {

/// The host's memory for standard containers, counted by an account. From any thread.
class BookedMemory final : public std::pmr::memory_resource {
 public:
  /// The account must outlive it, and it what it has allocated.
  explicit BookedMemory(MemoryAccount& account) : account_(account) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* block = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    account_.book(bytes);
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    account_.unbook(bytes);
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  MemoryAccount& account_;
};

}  // namespace train
