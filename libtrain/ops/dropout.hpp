#pragma once

#include <array>
#include <cstdint>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/philox.hpp"

namespace train {

/// The four 32-bit numbers that decide about elements 4·group … 4·group + 3 of the global tensor.
constexpr std::array<std::uint32_t, 4> dropout_bits(const Dropout& dropout, std::uint64_t group) {
  return Philox::block(dropout.key, dropout.step, group);
}

/// The decision on one element from its number; kept with probability 1 - p.
constexpr bool dropout_keeps(const Dropout& dropout, std::uint32_t bits) {
  return uniform_from_bits(bits) > dropout.probability;
}

/// What kept elements are multiplied by, so that the expectation stays.
constexpr float dropout_scale(const Dropout& dropout) {
  return 1.0f / (1.0f - dropout.probability);
}

/// The mask of one Dropout: element i (local; global i + first_index) is kept when number
/// g = i + first_index of stream (key, step) is above p, where number g is word g mod 4 of Philox
/// block g / 4. Runs of neighbouring elements cost one Philox block for four elements. Every
/// backend draws its mask this way, so that backends and grids agree on it.
class DropoutMask {
 public:
  explicit DropoutMask(const Dropout& dropout)
      : dropout_(dropout), scale_(dropout_scale(dropout)) {}

  bool keeps(std::uint64_t i) {
    if (!dropout_.active()) return true;
    const std::uint64_t global = dropout_.first_index + i;
    if (global / 4 != group_) {
      group_ = global / 4;
      bits_ = dropout_bits(dropout_, group_);
    }
    return dropout_keeps(dropout_, bits_[global % 4]);
  }

  /// 1/(1-p) where kept, 0 where dropped.
  float factor(std::uint64_t i) { return keeps(i) ? scale_ : 0.0f; }

 private:
  static constexpr std::uint64_t no_group = ~std::uint64_t{0};  // beyond any index / 4

  Dropout dropout_;
  float scale_;
  std::uint64_t group_ = no_group;
  std::array<std::uint32_t, 4> bits_{};
};

}  // namespace train
