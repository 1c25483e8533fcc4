#include "libtrain/checkpoint/storage_plan.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// A block is cut among its holders where each gets at least so much.
constexpr std::int64_t part_bytes_min = 256 << 10;

struct Holder {
  int rank;
  std::size_t within;
};

using Corners = std::array<std::array<std::int64_t, Shape::max_rank>, 2>;

struct HeldBlock {
  Block block;
  std::vector<Holder> holders;
};

Corners corners_of(const Block& block) {
  Corners corners{block.offset, {}};
  for (int i = 0; i < block.extent.rank(); ++i) corners[1][i] = block.extent[i];
  return corners;
}

Block narrowed(Block block, int dimension, std::int64_t begin, std::int64_t end) {
  std::array<std::int64_t, Shape::max_rank> extents{};
  const int rank = block.extent.rank();
  for (int i = 0; i < rank; ++i) extents[i] = block.extent[i];
  block.offset[dimension] = begin;
  extents[dimension] = end - begin;
  block.extent = Shape(std::span(extents).first(static_cast<std::size_t>(rank)));
  return block;
}

// Equal blocks once, by offset.
std::vector<HeldBlock> distinct_blocks(const Layout& layout) {
  std::map<Corners, HeldBlock> found;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const auto blocks = layout.blocks(rank);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].elements() == 0) continue;
      HeldBlock& held = found[corners_of(blocks[i])];
      held.block = blocks[i];
      if (held.holders.empty() || held.holders.back().rank != rank) {
        held.holders.push_back({rank, i});
      }
    }
  }
  std::vector<HeldBlock> distinct;
  for (auto& [corners, held] : found) distinct.push_back(std::move(held));
  return distinct;
}

// What of `block` is outside of `taken`, from the first dimension on.
void subtract(Block block, const Block& taken, std::vector<Block>& rest) {
  const Block common = intersection(block, taken);
  if (common.elements() == 0) {
    rest.push_back(block);
    return;
  }
  for (int i = 0; i < block.extent.rank(); ++i) {
    const std::int64_t begin = common.offset[i];
    const std::int64_t end = begin + common.extent[i];
    const std::int64_t block_end = block.offset[i] + block.extent[i];
    if (block.offset[i] < begin) rest.push_back(narrowed(block, i, block.offset[i], begin));
    if (end < block_end) rest.push_back(narrowed(block, i, end, block_end));
    block = narrowed(block, i, begin, end);
  }
}

// Blocks that overlap without being equal: what an earlier one has is taken off the later ones.
// Sorted by offset, so only those that still reach as far are looked at.
std::vector<HeldBlock> apart(const std::vector<HeldBlock>& distinct) {
  std::vector<HeldBlock> result;
  std::vector<const Block*> reaching;
  for (const HeldBlock& held : distinct) {
    const bool scalar = held.block.extent.rank() == 0;
    if (!scalar) {
      std::erase_if(reaching, [&](const Block* earlier) {
        return earlier->offset[0] + earlier->extent[0] <= held.block.offset[0];
      });
    }
    std::vector<Block> pieces{held.block};
    for (const Block* earlier : reaching) {
      std::vector<Block> rest;
      for (const Block& piece : pieces) subtract(piece, *earlier, rest);
      pieces = std::move(rest);
    }
    for (const Block& piece : pieces) result.push_back({piece, held.holders});
    reaching.push_back(&held.block);
  }
  return result;
}

void share_out(const HeldBlock& held, std::size_t element_bytes, std::size_t turn,
               std::vector<StorageBlock>& stored) {
  const auto count = static_cast<std::int64_t>(held.holders.size());
  const Block& block = held.block;
  const std::int64_t bytes = block.elements() * static_cast<std::int64_t>(element_bytes);
  const std::int64_t rows = block.extent.rank() == 0 ? 1 : block.extent[0];
  const std::int64_t parts = std::clamp<std::int64_t>(bytes / part_bytes_min, 1, count);
  if (parts == 1 || rows < parts) {
    const Holder& holder = held.holders[turn % held.holders.size()];
    stored.push_back({block, holder.rank, holder.within});
    return;
  }
  for (std::int64_t i = 0; i < parts; ++i) {
    const Holder& holder = held.holders[(turn + static_cast<std::size_t>(i)) % held.holders.size()];
    stored.push_back({narrowed(block, 0, block.offset[0] + rows * i / parts,
                               block.offset[0] + rows * (i + 1) / parts),
                      holder.rank, holder.within});
  }
}

}  // namespace

std::vector<StorageBlock> plan_storage(const Layout& layout, std::size_t element_bytes,
                                       std::size_t turn) {
  std::vector<StorageBlock> stored;
  std::int64_t elements = 0;
  for (const HeldBlock& held : apart(distinct_blocks(layout))) {
    share_out(held, element_bytes, turn, stored);
    elements += held.block.elements();
  }
  if (elements != layout.shape().elements()) {
    throw Error(
        fmt::format("the ranks hold {} of its {} values", elements, layout.shape().elements()));
  }
  return stored;
}

}  // namespace train
