#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "libtrain/ops/rotary_frequencies.hpp"

namespace train {

/// cos and sin of rotary angles, computed once per head width and frequencies, and grown as
/// positions need.
class RotaryTable {
 public:
  /// Rows of [cos × half | sin × half] for positions 0 … at least positions - 1, half =
  /// head_width / 2. Valid until the next call. Angles are computed in f64: at position 10^6 an
  /// f32 angle would be off by 0.06.
  const float* get(std::int64_t positions, std::int64_t head_width,
                   const RotaryFrequencies& frequencies);

 private:
  std::map<std::pair<std::int64_t, RotaryFrequencies>, std::vector<float>> rows_by_shape_;
};

}  // namespace train
