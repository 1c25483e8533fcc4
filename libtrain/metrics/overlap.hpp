#pragma once

#include <span>

#include "collectives/work.hpp"

namespace train {

/// A stretch of time; empty unless it ends after it begins.
struct TimeInterval {
  Clock::time_point begin;
  Clock::time_point end;
};

/// How much of a channel's communication ran behind computation.
struct Overlap {
  double busy_s = 0;            ///< the channel carried a call
  double waited_busy_s = 0;     ///< of that: the compute thread stood and waited for it
  double hidden_share() const;  ///< 1 - waited_busy_s / busy_s, of [0, 1]; NaN if never busy
};

/// From when a channel was busy and when the compute thread waited for it. Either list may come in
/// any order, and its intervals may overlap: a moment counts once. O(n log n).
Overlap measure_overlap(std::span<const TimeInterval> busy, std::span<const TimeInterval> waits);

}  // namespace train
