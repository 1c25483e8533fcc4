#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "collectives/wide/stream/link.hpp"

namespace train {

/// What a lane can send per second, all its links together, from what the kernel counts of them
/// during exchanges: bytes that arrived, by the time in which there was something to send. Waiting
/// for a slower cluster does not count.
class Bandwidth {
 public:
  /// An exchange over these links begins.
  void begin(const std::map<std::string, wide::Link>& links);
  /// It is over, and all of it was sent. One of less than 64 MiB over some link changes nothing.
  void end();

  /// 0: not known yet.
  std::uint64_t kbit() const { return kbit_; }

 private:
  struct Start {
    wide::Link link;
    wide::LinkTraffic traffic;
  };
  std::vector<Start> links_;
  std::uint64_t kbit_ = 0;
};

/// Kbit/s of a link that has moved so much over `streams` of equal share; 0 if that is too little
/// to tell.
std::uint64_t kbit_of(const wide::LinkTraffic& before, const wide::LinkTraffic& after, int streams);

}  // namespace train
