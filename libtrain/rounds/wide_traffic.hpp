#pragma once

#include <cstdint>

namespace train {

/// What left this cluster for others, and came from them, on the wire but for TCP's and IP's
/// headers.
struct WideTraffic {
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
};

}  // namespace train
