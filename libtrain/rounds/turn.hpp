#pragma once

#include <cstdint>

#include "collectives/wide/protocol/ranges.hpp"

namespace train {

/// One inner step that this cluster is to train.
struct Turn {
  std::int64_t step = 0;   ///< of the schedule, from 0
  wide::RangeSet samples;  ///< positions in the sample order; at most a batch, seldom fewer
};

}  // namespace train
