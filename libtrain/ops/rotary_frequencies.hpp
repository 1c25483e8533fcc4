#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace train {

/// How Llama 3.1 and later stretch rotary positions to contexts longer than those of pretraining
/// (transformers' rope_type "llama3"). Waves longer than original_context / low_frequency_factor
/// are slowed by `factor`, those shorter than original_context / high_frequency_factor stay, and
/// what lies between is blended.
struct RotaryScaling {
  float factor = 8.0f;
  float low_frequency_factor = 1.0f;
  float high_frequency_factor = 4.0f;
  std::int64_t original_context = 8192;

  auto operator<=>(const RotaryScaling&) const = default;
};

/// How fast the pairs of a head's elements turn.
struct RotaryFrequencies {
  RotaryFrequencies(float base,  // NOLINT: a base alone says it all
                    std::optional<RotaryScaling> scaled = std::nullopt)
      : theta(base), scaling(scaled) {}

  float theta;
  std::optional<RotaryScaling> scaling;

  /// Radians per position of pair i: theta^(-2i / head_width), scaled.
  double at(std::int64_t i, std::int64_t head_width) const;

  auto operator<=>(const RotaryFrequencies&) const = default;
};

}  // namespace train
