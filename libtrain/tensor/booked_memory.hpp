#pragma once

#include <memory>
#include <memory_resource>

#include "libtrain/tensor/memory_account.hpp"

namespace train {

/// The host's memory for standard containers, counted by an account. From any thread. What is given
/// back is kept, and handed out again for the same size class: where the same containers come at
/// each exchange, the system's page faults would take longer than what is computed in them.
class BookedMemory final : public std::pmr::memory_resource {
 public:
  /// The account must outlive it, and it what it has allocated.
  explicit BookedMemory(MemoryAccount& account);
  ~BookedMemory() override;
  BookedMemory(const BookedMemory&) = delete;
  BookedMemory& operator=(const BookedMemory&) = delete;

  /// What the containers' values lie in, for tensors over them.
  Memory& host() const { return *host_; }
  /// Taken from the system, in use or kept.
  std::size_t bytes_reserved() const { return host_->statistics().bytes_reserved; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  MemoryAccount& account_;
  std::unique_ptr<Memory> host_;
};

}  // namespace train
