#pragma once

#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

namespace train::detail {

/// `count` elements cut into `parts` blocks whose sizes differ by at most one; larger ones first.
inline std::vector<std::size_t> even_blocks(std::size_t count, int parts) {
  const auto n = static_cast<std::size_t>(parts);
  std::vector<std::size_t> blocks(n, count / n);
  for (std::size_t i = 0; i < count % n; ++i) ++blocks[i];
  return blocks;
}

/// Where each block begins when they lie one after the other.
inline std::vector<std::size_t> offsets_of(std::span<const std::size_t> blocks) {
  std::vector<std::size_t> offsets(blocks.size());
  std::exclusive_scan(blocks.begin(), blocks.end(), offsets.begin(), std::size_t{0});
  return offsets;
}

}  // namespace train::detail
