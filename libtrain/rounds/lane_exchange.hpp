#pragma once

#include <cstdint>
#include <span>

namespace train {

/// What left this cluster for others, and came from them, on the wire but for TCP's and IP's
/// headers.
struct WideTraffic {
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
};

/// One lane's exchange with the same lane of the other clusters. What it returns counts: it throws
/// Error when this cluster must not go on.
class LaneExchange {
 public:
  virtual ~LaneExchange() = default;

  /// The mean over clusters of `values`, weighted by `tokens`; the same bits everywhere. Blocks.
  /// Called once per exchange on each rank that carries a lane, in the same order everywhere.
  virtual void mean(std::span<const float> values, std::uint64_t tokens,
                    std::span<float> result) = 0;
  /// Of this lane, so far.
  virtual WideTraffic traffic() const = 0;
};

}  // namespace train
