#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "libtrain/parallel/grid.hpp"
#include "libtrain/rounds/lane_layout.hpp"

namespace train {

/// Brings tensors from the grid's layout to the ranks that carry lanes, and back. A rank without a
/// lane takes part with nothing.
class Lanes {
 public:
  /// Collective in effect. `grid` and `fragments` must outlive it. `tensors` are f32, in the order
  /// of `fragments`.
  Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, const Fragments& fragments,
        int lanes);

  const LaneLayout& layout() const { return layout_; }
  /// This rank's lane, or -1; and how many values of a fragment it has.
  int lane() const { return layout_.lane_of(grid_.rank()); }
  std::size_t count(int fragment) const { return lane() < 0 ? 0 : layout_.count(fragment, lane()); }

  /// Fills this rank's lane with a fragment's values. Collective over the grid.
  void collect(std::span<const LogicalTensor> tensors, int fragment, std::span<float> lane) const;
  /// Fills the parts of a fragment's tensors on every rank, copies included. Collective over the
  /// grid.
  void spread(std::span<const float> lane, int fragment,
              std::span<const LogicalTensor> tensors) const;

 private:
  const Grid& grid_;
  const Fragments& fragments_;
  LaneLayout layout_;
};

}  // namespace train
