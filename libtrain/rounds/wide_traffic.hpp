#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace train {

/// What left this cluster for others, and came from them, on the wire but for TCP's and IP's
/// headers.
struct WideTraffic {
  struct Bytes {
    std::uint64_t sent = 0, received = 0;
    std::uint64_t promised = 0;  ///< still to be sent, of states that it fetches

    Bytes& operator+=(const Bytes& more) {
      sent += more.sent;
      received += more.received;
      promised += more.promised;
      return *this;
    }
  };
  std::map<std::string, Bytes> with;  ///< by the other cluster's name

  Bytes total() const {
    Bytes sum;
    for (const auto& [cluster, bytes] : with) sum += bytes;
    return sum;
  }
  WideTraffic& operator+=(const WideTraffic& more) {
    for (const auto& [cluster, bytes] : more.with) with[cluster] += bytes;
    return *this;
  }
};

}  // namespace train
