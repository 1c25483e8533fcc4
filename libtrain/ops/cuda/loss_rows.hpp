#pragma once

#include <algorithm>
#include <cstdint>

#include "collectives/types.hpp"

namespace train::cuda {

/// Rows of logits that a loss holds at a time on a GPU: a GiB of f32, from 256 to 4096 rows.
inline std::int64_t loss_rows(std::int64_t vocabulary) {
  constexpr std::int64_t logits_max = (std::int64_t{1} << 30) / sizeof(float), step = 256;
  const std::int64_t rows = logits_max / std::max<std::int64_t>(1, vocabulary);
  return std::clamp<std::int64_t>(rows / step * step, step, 4096);
}

/// Rows of so many elements begin at whole lines of a GPU's memory.
inline std::int64_t padded_width(std::int64_t width, DataType type) {
  const std::int64_t line = 128 / static_cast<std::int64_t>(size_of(type));
  return (width + line - 1) / line * line;
}

}  // namespace train::cuda
