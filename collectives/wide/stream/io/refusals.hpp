#pragma once

#include <string>

#include "collectives/work.hpp"

namespace train::wide::detail {

/// Thins the lines about refused connections, which strangers can cause at will: ten at once, then
/// one a second; each says how many were left out before it.
class Refusals {
 public:
  /// The line to log, or an empty one.
  std::string line(const std::string& address, const std::string& why, Clock::time_point now) {
    constexpr double burst = 10;
    tokens_ += std::chrono::duration<double>(now - last_).count();
    if (tokens_ > burst || last_ == Clock::time_point()) tokens_ = burst;
    last_ = now;
    if (tokens_ < 1) {
      ++left_out_;
      return {};
    }
    tokens_ -= 1;
    std::string text = "refused " + address + ": " + why;
    if (left_out_ > 0) text += " (and " + std::to_string(left_out_) + " more before)";
    left_out_ = 0;
    return text;
  }

 private:
  double tokens_ = 0;
  Clock::time_point last_;
  unsigned long left_out_ = 0;
};

}  // namespace train::wide::detail
