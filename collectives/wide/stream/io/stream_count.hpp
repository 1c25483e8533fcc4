#pragma once

#include <algorithm>

#include "collectives/wide/stream/link.hpp"

namespace train::wide::detail {

/// How many streams a link should have: more as long as each addition makes it a tenth faster.
/// Asked once per window of about a second in which the link was busy throughout.
class StreamCount {
 public:
  StreamCount(int first, int most) : wanted_(std::min(first, most)), most_(most) {}

  int wanted() const { return wanted_; }

  void measure(double bytes_per_s) {
    if (settling_) {  // the new streams' windows have only begun to open
      settling_ = false;
      return;
    }
    if (windows_to_rest_ > 0) {
      --windows_to_rest_;
      return;
    }
    const bool faster = bytes_per_s > 1.1 * before_;
    before_ = bytes_per_s;
    if (!faster) {
      // Links change: try again later, from the rate that is usual then.
      windows_to_rest_ = 60;
      before_ = 0;
    } else if (wanted_ < most_) {
      wanted_ = std::min(most_, wanted_ + std::max(1, wanted_ / 2));
      settling_ = true;
    }
  }

 private:
  int wanted_, most_;
  int windows_to_rest_ = 0;
  bool settling_ = false;
  double before_ = 0;
};

}  // namespace train::wide::detail
