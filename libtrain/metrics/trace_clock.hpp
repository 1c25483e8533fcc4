#pragma once

#include <algorithm>
#include <functional>

#include "collectives/communicator.hpp"

namespace train::detail {

/// How this rank's clock stood against rank 0's at one moment. Nodes count from their own start, so
/// their clocks differ by days, and drift by some microseconds a second.
struct ClockReading {
  Clock::time_point at = {};      ///< on this rank's clock
  Clock::duration ahead = {};     ///< this rank's clock less rank 0's
  Clock::duration accuracy = {};  ///< `ahead` is wrong by no more
};

/// Compares every rank's clock with rank 0's: of several round trips the quickest, whose middle is
/// taken for the moment of rank 0's answer (Cristian, Distributed Computing 3, 1989). Wrong by half
/// that round trip at most. A difference that is no larger than its accuracy counts as none, so
/// that ranks of one node, which share a clock, agree exactly. Collective; a rank after the other.
ClockReading compare_clocks(Communicator& ranks,
                            const std::function<Clock::time_point()>& now = Clock::now);

/// Puts a rank's moments on rank 0's clock, by readings before and after them: between the two the
/// difference drifts evenly. Keeps the order of moments.
class TraceClock {
 public:
  TraceClock(ClockReading first, ClockReading last);

  Clock::time_point on_root(Clock::time_point moment) const;
  Clock::duration accuracy() const { return std::max(first_.accuracy, last_.accuracy); }

 private:
  ClockReading first_;
  ClockReading last_;
};

}  // namespace train::detail
