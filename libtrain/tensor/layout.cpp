#include "libtrain/tensor/layout.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

Shape with_extent(const Shape& shape, int dimension, std::int64_t extent) {
  std::array<std::int64_t, Shape::max_rank> extents{};
  for (int i = 0; i < shape.rank(); ++i) extents[i] = i == dimension ? extent : shape[i];
  return Shape(std::span(extents).first(static_cast<std::size_t>(shape.rank())));
}

bool stack(const Shape& a, const Shape& b) {
  if (a.rank() != b.rank()) return false;
  for (int i = 1; i < a.rank(); ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

void check_within(const Block& block, const Shape& shape) {
  bool within = block.extent.rank() == shape.rank();
  for (int i = 0; within && i < shape.rank(); ++i) {
    within = block.offset[i] >= 0 && block.extent[i] >= 0 &&
             block.offset[i] <= shape[i] - block.extent[i];
  }
  if (!within) {
    throw Error(fmt::format("a layout's block {} is not within the tensor {}", block.to_string(),
                            shape.to_string()));
  }
}

// Elements [begin, end) of one block, cut from dimension `dimension` on: the part before the first
// whole slab, the whole slabs, the part after them.
void cut(const Block& block, int dimension, std::int64_t begin, std::int64_t end,
         std::vector<Block>& pieces) {
  if (begin >= end) return;
  std::int64_t slab = 1;
  for (int i = dimension + 1; i < block.extent.rank(); ++i) slab *= block.extent[i];
  const auto piece = [&](std::int64_t first, std::int64_t count) {
    Block part = block;
    part.offset[dimension] += first;
    part.extent = with_extent(block.extent, dimension, count);
    return part;
  };
  const std::int64_t first = begin / slab;
  const std::int64_t last = end / slab;
  if (first == last) {
    if (slab > 1) cut(piece(first, 1), dimension + 1, begin % slab, end % slab, pieces);
    return;
  }
  if (begin % slab != 0) cut(piece(first, 1), dimension + 1, begin % slab, slab, pieces);
  const std::int64_t whole = begin % slab == 0 ? first : first + 1;
  if (whole < last) pieces.push_back(piece(whole, last - whole));
  if (end % slab != 0) cut(piece(last, 1), dimension + 1, 0, end % slab, pieces);
}

}  // namespace

std::string Block::to_string() const {
  std::string text = "[";
  for (int i = 0; i < extent.rank(); ++i) {
    text += fmt::format("{}{}:{}", i > 0 ? ", " : "", offset[i], offset[i] + extent[i]);
  }
  return text + "]";
}

Block whole_block(const Shape& shape) {
  return {{}, shape};
}

Block intersection(const Block& a, const Block& b) {
  invariant(a.extent.rank() == b.extent.rank(), "blocks of tensors of one rank meet");
  Block common = a;
  for (int i = 0; i < a.extent.rank(); ++i) {
    const std::int64_t begin = std::max(a.offset[i], b.offset[i]);
    const std::int64_t end = std::min(a.offset[i] + a.extent[i], b.offset[i] + b.extent[i]);
    common.offset[i] = begin;
    common.extent = with_extent(common.extent, i, std::max<std::int64_t>(0, end - begin));
  }
  return common;
}

Layout::Layout(Shape shape, std::vector<std::vector<Block>> blocks)
    : shape_(shape), blocks_(std::move(blocks)) {
  for (const auto& of_rank : blocks_) {
    for (const Block& block : of_rank) check_within(block, shape_);
  }
}

Layout Layout::replicated(const Shape& shape, int ranks) {
  return {shape,
          std::vector<std::vector<Block>>(static_cast<std::size_t>(ranks), {whole_block(shape)})};
}

Layout Layout::split(const Shape& shape, int dimension, std::span<const std::int64_t> counts) {
  std::vector<std::vector<Block>> blocks;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    Block block = whole_block(shape);
    block.offset[dimension] = begin;
    block.extent = with_extent(shape, dimension, count);
    blocks.push_back({block});
    begin += count;
  }
  invariant(begin == shape[dimension], "a split's counts add up to the dimension");
  return {shape, std::move(blocks)};
}

Layout Layout::on_rank(const Shape& shape, int ranks, int rank) {
  std::vector<std::vector<Block>> blocks(static_cast<std::size_t>(ranks));
  blocks.at(static_cast<std::size_t>(rank)).push_back(whole_block(shape));
  return {shape, std::move(blocks)};
}

std::span<const Block> Layout::blocks(int rank) const {
  return blocks_.at(static_cast<std::size_t>(rank));
}

std::int64_t Layout::local_elements(int rank) const {
  std::int64_t elements = 0;
  for (const Block& block : blocks(rank)) elements += block.elements();
  return elements;
}

Shape Layout::local_shape(int rank) const {
  const auto held = blocks(rank);
  // Scalars do not stack: one keeps its shape, any other number of them is flat.
  if (shape_.rank() == 0) return held.size() == 1 ? shape_ : Shape{local_elements(rank)};
  if (held.empty()) return with_extent(shape_, 0, 0);
  const Shape& first = held[0].extent;
  std::int64_t extent = 0;
  for (const Block& block : held) {
    if (!stack(first, block.extent)) return {local_elements(rank)};
    extent += block.extent[0];
  }
  return with_extent(first, 0, extent);
}

int Layout::owner(const Block& block) const {
  for (int rank = 0; rank < ranks(); ++rank) {
    if (std::ranges::find(blocks(rank), block) != blocks(rank).end()) return rank;
  }
  return -1;
}

std::vector<std::array<std::int64_t, 2>> Layout::owned_ranges(int rank) const {
  std::vector<std::array<std::int64_t, 2>> ranges;
  const auto held = blocks(rank);
  std::int64_t begin = 0;
  for (auto block = held.begin(); block != held.end(); ++block) {
    const std::int64_t end = begin + block->elements();
    const bool again = std::find(held.begin(), block, *block) != block;
    if (begin < end && !again && owner(*block) == rank) ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

std::vector<Block> flat_range(std::span<const Block> blocks, std::int64_t begin, std::int64_t end) {
  std::vector<Block> pieces;
  for (const Block& block : blocks) {
    const std::int64_t count = block.elements();
    const std::int64_t first = std::max<std::int64_t>(0, begin);
    const std::int64_t last = std::min(count, end);
    if (first < last) {
      if (block.extent.rank() == 0) {
        pieces.push_back(block);
      } else {
        cut(block, 0, first, last, pieces);
      }
    }
    begin -= count;
    end -= count;
  }
  return pieces;
}

}  // namespace train
