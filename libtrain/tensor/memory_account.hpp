#pragma once

#include <array>
#include <atomic>

#include "libtrain/tensor/memory.hpp"

namespace train {

/// What a rank's memory holds, as the literature counts it.
enum class MemoryUse : std::uint8_t {
  parameters,       ///< values that stay, in the type of the model
  gradients,        ///< what stays of them until the optimizer's step
  optimizer_state,  ///< moments, and full-precision copies of bf16 parameters
  activations,      ///< everything else of a pass
  communication,    ///< buckets under way: gradients on their way to a shard, gathered parameters
  lanes,            ///< what is exchanged with other clusters, in the host's memory
};
inline constexpr std::array memory_uses{MemoryUse::parameters,      MemoryUse::gradients,
                                        MemoryUse::optimizer_state, MemoryUse::activations,
                                        MemoryUse::communication,   MemoryUse::lanes};
/// "parameters", "gradients", "optimizer", …
const char* name_of(MemoryUse use);

/// One use's share of a device's memory: hands requests on and counts their bytes as they were
/// asked for, without the rounding of the allocator.
class MemoryAccount final : public Memory {
 public:
  explicit MemoryAccount(Memory& base) : base_(base) {}

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  bool on_host() const override { return base_.on_host(); }
  void copy_from_host(void* target, const void* source, std::size_t bytes) override;
  void copy_to_host(void* target, const void* source, std::size_t bytes) override;
  void wait_for_work() override { base_.wait_for_work(); }
  void copy_to_host_at_once(void* target, const void* source, std::size_t bytes) override;

  /// Counts bytes of the host's that others have allocated for this use, until they are released.
  void book(std::size_t bytes) noexcept;
  void unbook(std::size_t bytes) noexcept { in_use_.fetch_sub(bytes); }

  /// Bytes in use and their peak are this account's; what the system gave is the whole device's.
  Statistics statistics() const override;
  /// The peak counts from now on.
  void reset_peak();

 private:
  Memory& base_;
  std::atomic<std::size_t> in_use_{0};
  std::atomic<std::size_t> peak_{0};
};

}  // namespace train
