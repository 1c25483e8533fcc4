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
  /// Collective in effect. `grid` must outlive it. `tensors` are f32.
  Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, int lanes);

  const LaneLayout& layout() const { return layout_; }
  /// This rank's lane, or -1; and how many values it has.
  int lane() const { return layout_.lane_of(grid_.rank()); }
  std::size_t count() const { return lane() < 0 ? 0 : layout_.count(lane()); }

  /// Fills this rank's lane. Collective over the grid.
  void collect(std::span<const LogicalTensor> tensors, std::span<float> lane) const;
  /// Fills the tensors' parts on every rank, copies included. Collective over the grid.
  void spread(std::span<const float> lane, std::span<const LogicalTensor> tensors) const;

 private:
  const Grid& grid_;
  LaneLayout layout_;
};

}  // namespace train
