#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/tensor/layout.hpp"

namespace train {

using RankBlocks = std::vector<std::vector<Block>>;

/// A tensor's layouts before and after.
struct Way {
  Layout from, to;
  DataType type = DataType::f32;
};

/// Shapes, layouts and pairs of them: the same for one seed and count of ranks.
class RandomLayouts {
 public:
  RandomLayouts(unsigned seed, int ranks)
      : ranks_(ranks), engine_(seed * 64 + static_cast<unsigned>(ranks)) {}

  /// From least to most, both possible.
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(engine_);
  }
  std::size_t below(std::size_t end) {
    return static_cast<std::size_t>(between(0, static_cast<std::int64_t>(end) - 1));
  }
  bool one_in(int count) { return between(1, count) == 1; }

  /// `parts` counts that add up to `total`; some may be 0.
  std::vector<std::int64_t> counts(std::int64_t total, std::size_t parts) {
    std::vector<std::int64_t> ends{total};
    for (std::size_t i = 1; i < parts; ++i) ends.push_back(between(0, total));
    std::ranges::sort(ends);
    std::adjacent_difference(ends.begin(), ends.end(), ends.begin());
    return ends;
  }

  Shape shape() {
    std::vector<std::int64_t> extents;
    for (std::int64_t i = between(0, 4); i > 0; --i) {
      extents.push_back(one_in(15) ? 0 : between(1, 7));
    }
    return Shape(std::span<const std::int64_t>(extents));
  }

  Block block_within(const Block& whole) {
    Block block;
    std::vector<std::int64_t> extents;
    for (int d = 0; d < whole.extent.rank(); ++d) {
      const std::int64_t skip = between(0, whole.extent[d]);
      block.offset[d] = whole.offset[d] + skip;
      extents.push_back(between(0, whole.extent[d] - skip));
    }
    block.extent = Shape(std::span<const std::int64_t>(extents));
    return block;
  }

  /// Covers the tensor, on some of the ranks.
  Layout layout(const Shape& shape) {
    const auto used = static_cast<std::size_t>(between(1, ranks_));
    RankBlocks blocks(used);
    switch (between(0, 4)) {
      case 0:
        blocks.assign(used, {whole_block(shape)});
        break;
      case 1:
        for (std::size_t i = 0; const Block& part : split(whole_block(shape), used)) {
          blocks[i++ % used].push_back(part);
        }
        break;
      case 2:
        scatter_flat_ranges(shape, blocks);
        break;
      default:
        scatter_grid(shape, blocks);
    }
    if (one_in(4)) {
      for (int i = 0; i < 3; ++i) {
        blocks[below(used)].push_back(block_within(whole_block(shape)));
      }
    }
    blocks.resize(static_cast<std::size_t>(ranks_));
    std::ranges::shuffle(blocks, engine_);
    return {shape, blocks};
  }

  /// `from` may hold a part of the tensor only; `to` asks for what `from` has.
  Way way() {
    const DataType types[] = {DataType::f32, DataType::bf16, DataType::i64, DataType::u8};
    const Shape of = shape();
    Way way{layout(of), layout(of), types[below(4)]};
    if (!one_in(3)) return way;
    RankBlocks part(static_cast<std::size_t>(ranks_)), wanted(part);
    for (int i = 0; i < 4; ++i) {
      const Block block = block_within(whole_block(of));
      part[below(part.size())].push_back(block);
      if (one_in(2)) part[below(part.size())].push_back(block);
      wanted[below(part.size())].push_back(block_within(block));
    }
    way.to = Layout(of, wanted);
    if (one_in(2)) way.from = Layout(of, part);
    return way;
  }

 private:
  std::vector<Block> split(const Block& block, std::size_t parts) {
    if (block.extent.rank() == 0) return {block};
    const int dimension = static_cast<int>(below(static_cast<std::size_t>(block.extent.rank())));
    const Layout layout =
        Layout::split(block.extent, dimension, counts(block.extent[dimension], parts));
    std::vector<Block> result;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      Block part = layout.blocks(rank)[0];
      for (int d = 0; d < block.extent.rank(); ++d) part.offset[d] += block.offset[d];
      result.push_back(part);
    }
    return result;
  }

  // As a sharded optimizer does: each part of a split is a flat array that several ranks share.
  void scatter_flat_ranges(const Shape& shape, RankBlocks& blocks) {
    for (const Block& part : split(whole_block(shape), below(3) + 1)) {
      std::int64_t begin = 0;
      for (const std::int64_t count : counts(part.elements(), blocks.size())) {
        const auto range = flat_range(std::span(&part, 1), begin, begin + count);
        auto& of_rank = blocks[below(blocks.size())];
        of_rank.insert(of_rank.end(), range.begin(), range.end());
        begin += count;
      }
    }
  }

  void scatter_grid(const Shape& shape, RankBlocks& blocks) {
    for (const Block& row : split(whole_block(shape), below(3) + 1)) {
      for (const Block& part : split(row, below(3) + 1)) {
        for (std::int64_t copies = between(1, 3); copies > 0; --copies) {
          blocks[below(blocks.size())].push_back(part);
        }
      }
    }
    for (auto& of_rank : blocks) std::ranges::shuffle(of_rank, engine_);
  }

  int ranks_;
  std::mt19937 engine_;
};

}  // namespace train
