#include "libtrain/ops/rotary_frequencies.hpp"

#include <cmath>
#include <numbers>

namespace train {

double RotaryFrequencies::at(std::int64_t i, std::int64_t head_width) const {
  const double frequency = std::pow(
      static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
  if (!scaling) return frequency;
  const double low = scaling->low_frequency_factor, high = scaling->high_frequency_factor;
  const double slowed = frequency / scaling->factor;
  // Turns within the original context: its length over the wave's.
  const double turns =
      static_cast<double>(scaling->original_context) * frequency / (2.0 * std::numbers::pi);
  if (turns > high) return frequency;
  if (turns < low) return slowed;
  const double share = (turns - low) / (high - low);
  return (1.0 - share) * slowed + share * frequency;
}

}  // namespace train
