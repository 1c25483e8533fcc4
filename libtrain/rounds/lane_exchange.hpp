#pragma once

#include <cstdint>
#include <span>

namespace train {

/// One lane's exchange with the same lane of the other clusters. What it returns counts: it throws
/// Error when this cluster must not go on.
class LaneExchange {
 public:
  virtual ~LaneExchange() = default;

  /// The mean over clusters of `values`, weighted by `tokens`; the same bits everywhere. Blocks.
  /// Called once per exchange on each rank that carries a lane, in the same order everywhere.
  virtual void mean(std::span<const float> values, std::uint64_t tokens,
                    std::span<float> result) = 0;
};

}  // namespace train
