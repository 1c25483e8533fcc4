#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libtrain/tensor/shape.hpp"

namespace train {

/// A hyper-rectangle of a tensor: [offset, offset + extent) in every dimension. May be empty.
struct Block {
  std::array<std::int64_t, Shape::max_rank> offset{};
  Shape extent;

  std::int64_t elements() const { return extent.elements(); }
  bool operator==(const Block&) const = default;
  /// "[0:4, 8:16]"
  std::string to_string() const;
};

/// All of a tensor.
Block whole_block(const Shape& shape);
/// What two blocks of tensors of one rank share; no elements when they do not meet.
Block intersection(const Block& a, const Block& b);

/// Which rank of a group holds which blocks of a tensor. A rank keeps its blocks one after another,
/// each row-major; it may hold none. A block that several ranks hold is replicated.
class Layout {
 public:
  /// No tensor, no ranks.
  Layout() = default;
  /// `blocks[r]` are those of rank r. Throws Error when a block leaves the shape.
  Layout(Shape shape, std::vector<std::vector<Block>> blocks);

  /// Every rank holds everything.
  static Layout replicated(const Shape& shape, int ranks);
  /// Rank r holds counts[r] indices of `dimension`, in rank order; the counts add up to its extent.
  static Layout split(const Shape& shape, int dimension, std::span<const std::int64_t> counts);
  /// One rank holds everything, the others nothing.
  static Layout on_rank(const Shape& shape, int ranks, int rank);

  const Shape& shape() const { return shape_; }
  int ranks() const { return static_cast<int>(blocks_.size()); }
  std::span<const Block> blocks(int rank) const;
  /// Elements that a rank keeps.
  std::int64_t local_elements(int rank) const;
  /// The shape of what a rank keeps: its blocks stacked along the first dimension when they agree
  /// in the others, else one flat extent.
  Shape local_shape(int rank) const;
  /// The lowest rank that holds exactly this block; -1 when none does.
  int owner(const Block& block) const;
  /// Elements of a rank's memory as ranges [begin, end) that no lower rank holds as well: counted
  /// over all ranks, every element of the tensor once. For layouts whose blocks are either equal
  /// or apart.
  std::vector<std::array<std::int64_t, 2>> owned_ranges(int rank) const;

  bool operator==(const Layout&) const = default;

 private:
  Shape shape_;
  std::vector<std::vector<Block>> blocks_;
};

/// The blocks of elements [begin, end) of a rank's memory that holds `blocks`: a range that starts
/// or ends within a row takes up to 2 rank - 1 blocks of each.
std::vector<Block> flat_range(std::span<const Block> blocks, std::int64_t begin, std::int64_t end);

}  // namespace train
