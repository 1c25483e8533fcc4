#pragma once

#include <cstddef>
#include <cstdint>

namespace train {

/// The memory of one device. Blocks that are released are kept and handed out again for the same
/// size class, so that a training step of fixed shapes asks the system for nothing after the first.
class Memory {
 public:
  struct Statistics {
    std::size_t bytes_in_use = 0;
    std::size_t bytes_in_use_peak = 0;
    std::size_t bytes_reserved = 0;        ///< taken from the system, in use or kept
    std::uint64_t system_allocations = 0;  ///< how often the system was asked
  };

  virtual ~Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// At least `bytes`, aligned to 64 or better, contents undefined. Throws Error when the device
  /// is full, with what was asked and what is in use.
  virtual void* allocate(std::size_t bytes) = 0;
  /// `bytes` as it was asked for.
  virtual void release(void* block, std::size_t bytes) noexcept = 0;

  /// Whether the host may look at the blocks; where not, it copies.
  virtual bool on_host() const = 0;
  virtual void copy_from_host(void* target, const void* source, std::size_t bytes) = 0;
  virtual void copy_to_host(void* target, const void* source, std::size_t bytes) = 0;
  /// The two halves of copy_to_host, for many copies of what does not change meanwhile: one waits
  /// for the work that the device was given, the other for none, so that work given since goes on.
  virtual void wait_for_work() {}
  virtual void copy_to_host_at_once(void* target, const void* source, std::size_t bytes) {
    copy_to_host(target, source, bytes);
  }

  virtual Statistics statistics() const = 0;

 protected:
  Memory() = default;
};

}  // namespace train
