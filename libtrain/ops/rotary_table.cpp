#include "libtrain/ops/rotary_table.hpp"

#include <algorithm>
#include <cmath>

namespace train {

const float* RotaryTable::get(std::int64_t positions, std::int64_t head_width,
                              const RotaryFrequencies& frequencies) {
  std::vector<float>& rows = rows_by_shape_[{head_width, frequencies}];
  const std::int64_t half = head_width / 2;
  const auto have = static_cast<std::int64_t>(rows.size()) / (2 * half);
  if (have >= positions) return rows.data();
  // Generation asks for one position more each time: grow by doubling.
  const std::int64_t want = std::max(positions, 2 * have);
  rows.resize(static_cast<std::size_t>(want * 2 * half));
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency = frequencies.at(i, head_width);
    for (std::int64_t position = have; position < want; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      float* row = rows.data() + position * 2 * half;
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return rows.data();
}

}  // namespace train
