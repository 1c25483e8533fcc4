#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace train {

/// Rounds up so that nearly equal sizes share blocks while at most an eighth is wasted; from
/// `page_bytes` (a power of 2) on, to whole pages.
inline std::size_t size_class(std::size_t bytes, std::size_t page_bytes) {
  constexpr std::size_t smallest = 256;
  if (bytes <= smallest) return smallest;
  const std::size_t step = std::max(smallest, std::bit_floor(bytes - 1) / 8);
  const std::size_t rounded = (bytes + step - 1) / step * step;
  if (rounded < page_bytes) return rounded;
  return (rounded + page_bytes - 1) / page_bytes * page_bytes;
}

}  // namespace train
