#pragma once

#include <algorithm>
#include <cmath>

#include "collectives/wide/stream/link.hpp"

namespace train::wide::detail {

/// How many streams a link should have: more as long as each addition makes it a tenth faster. One
/// that does not is taken back: in a full queue, each costs the others packets. Asked once per
/// window of about a second in which the link was busy throughout. Streams that already have all
/// that the network gives get no company: it would but share what they have.
class StreamCount {
 public:
  StreamCount(int first, int most) : wanted_(std::min(first, most)), most_(most) {}

  int wanted() const { return wanted_; }

  /// `is_held_back` by buffers or losses, which more streams can make up for.
  void measure(double bytes_per_s, bool is_held_back) {
    if (windows_to_rest_ > 0) {
      --windows_to_rest_;
      return;
    }
    // A rate that still rises says nothing of the count: the streams' windows have only begun to
    // open. New streams are slow at first, and hold up the others' work: they must be worth it.
    const bool is_steady = std::abs(bytes_per_s - before_) <= 0.1 * bytes_per_s;
    const bool still_held_back = was_held_back_ && is_held_back;
    before_ = bytes_per_s;
    was_held_back_ = is_held_back;
    if (!is_steady) return;
    if (is_trying_ && bytes_per_s <= 1.1 * baseline_) {
      // Links change: try again later, but ever more rarely.
      wanted_ = before_try_;
      windows_to_rest_ = rest_;
      rest_ *= 2;
      is_trying_ = false;
    } else if (still_held_back && wanted_ < most_) {
      before_try_ = wanted_;
      wanted_ = std::min(most_, wanted_ + std::max(1, wanted_ / 2));
      baseline_ = bytes_per_s;
      before_ = 0;
      is_trying_ = true;
    }
  }

 private:
  int wanted_, most_, before_try_ = 0;
  int windows_to_rest_ = 0, rest_ = 60;
  bool is_trying_ = false, was_held_back_ = false;
  double before_ = 0, baseline_ = 0;
};

}  // namespace train::wide::detail
