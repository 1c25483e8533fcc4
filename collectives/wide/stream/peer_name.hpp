#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace train::wide {

/// Who is at the other end of a link: a cluster, and which of its lanes. Certificates vouch for the
/// cluster, not for the lane. The coordinator is the cluster "coordinator" with lane 0.
struct PeerName {
  std::string cluster;
  std::uint32_t lane = 0;

  auto operator<=>(const PeerName&) const = default;
  /// "aws/0"
  std::string to_string() const { return cluster + "/" + std::to_string(lane); }
};

}  // namespace train::wide
