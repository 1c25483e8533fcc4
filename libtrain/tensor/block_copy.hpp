#pragma once

#include <cstddef>
#include <span>

#include "libtrain/tensor/layout.hpp"

namespace train {

/// Blocks out of a whole tensor: `whole` holds all elements of `shape`, each of `element_bytes`,
/// row-major; `local` receives the blocks one after another.
void copy_from_whole(const Shape& shape, std::size_t element_bytes,
                     std::span<const std::byte> whole, std::span<const Block> blocks,
                     std::span<std::byte> local);
/// The other way.
void copy_to_whole(const Shape& shape, std::size_t element_bytes, std::span<const std::byte> local,
                   std::span<const Block> blocks, std::span<std::byte> whole);

/// Calls visit(first, count) for each run of neighbours of a block: `first` is the row-major index
/// in the whole tensor. In the order in which the block keeps its elements.
template <typename Visit>
void for_each_run(const Shape& shape, const Block& block, Visit visit) {
  if (block.elements() == 0) return;
  std::array<std::int64_t, Shape::max_rank> at = block.offset;
  const int last = shape.rank() - 1;
  const std::int64_t count = shape.rank() == 0 ? 1 : block.extent[last];
  while (true) {
    std::int64_t first = 0;
    for (int i = 0; i <= last; ++i) first = first * shape[i] + at[i];
    visit(first, count);
    int dimension = last - 1;
    while (dimension >= 0 && ++at[dimension] == block.offset[dimension] + block.extent[dimension]) {
      at[dimension] = block.offset[dimension];
      --dimension;
    }
    if (dimension < 0) return;
  }
}

}  // namespace train
