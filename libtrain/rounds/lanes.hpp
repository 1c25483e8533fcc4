#pragma once

#include <functional>
#include <memory>
#include <memory_resource>
#include <vector>

#include "libtrain/parallel/grid.hpp"
#include "libtrain/rounds/lane_layout.hpp"

namespace train {

/// Brings tensors from the grid's layout to the ranks that carry lanes, and back. A rank without a
/// lane takes part with nothing.
class Lanes {
 public:
  /// Collective in effect. `grid`, `fragments` and `memory`, the host's, must outlive it. `tensors`
  /// are f32, in the order of `fragments`.
  Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, const Fragments& fragments,
        int lanes, std::pmr::memory_resource& memory);

  const LaneLayout& layout() const { return layout_; }
  /// This rank's lane, or -1; and how many values of a fragment it has.
  int lane() const { return layout_.lane_of(grid_.rank()); }
  std::size_t count(int fragment) const { return lane() < 0 ? 0 : layout_.count(fragment, lane()); }

  /// The place in the list of the tensor that a value of this lane's part of a fragment is of.
  std::size_t tensor_of(int fragment, std::size_t value) const;

  // What follows takes as much of `memory` as passes at once where the tensors are on a GPU: this
  // rank's part of 256 MiB of them, or of a single one that is larger.

  /// Fills this rank's lane with a fragment's values. Collective over the grid.
  void collect(std::span<const LogicalTensor> tensors, int fragment, std::span<float> lane) const;
  /// Fills the parts of a fragment's tensors on every rank, copies included. Collective over the
  /// grid.
  void spread(std::span<const float> lane, int fragment,
              std::span<const LogicalTensor> tensors) const;

 private:
  /// Of this rank's lane, the part that it has of a tensor.
  template <typename Span>
  auto of_lane(Span lane, std::size_t tensor) const;

  const Grid& grid_;
  const Fragments& fragments_;
  LaneLayout layout_;
  std::pmr::memory_resource& memory_;
};

}  // namespace train
