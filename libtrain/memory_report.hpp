#pragma once

#include <array>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

/// What one rank's memory holds, in bytes as they were asked for: now, and at its highest since the
/// accounts were last reset.
struct MemoryUsage {
  std::array<std::int64_t, memory_uses.size()> now{};   ///< by MemoryUse
  std::array<std::int64_t, memory_uses.size()> peak{};  ///< by MemoryUse
  std::int64_t reserved = 0;                            ///< taken from the system

  std::int64_t now_of(MemoryUse use) const { return now[static_cast<std::size_t>(use)]; }
  std::int64_t peak_of(MemoryUse use) const { return peak[static_cast<std::size_t>(use)]; }
};

MemoryUsage memory_usage(const Device& device);
/// From now on peaks are those of what follows.
void reset_memory_peaks(const Device& device);

/// A table of all ranks' memory in MiB: what stays of parameters, gradients and optimizer state,
/// and the peaks of activations, of buckets under way and of lanes. Collective; the same text on
/// every rank.
std::string memory_report(const Device& device, Communicator& world);

}  // namespace train
