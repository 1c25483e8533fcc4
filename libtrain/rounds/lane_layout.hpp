#pragma once

#include <vector>

#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// The rank that carries a lane: lanes are spread evenly over a cluster's ranks.
inline int rank_of_lane(int lane, int lanes, int ranks) {
  return lane * ranks / lanes;
}

/// All parameters of a model one behind another, as one row of values that a cluster's lanes share:
/// lane l holds values [begin, end) of it, in whole blocks of 256. Every cluster with the same
/// number of lanes cuts the same way, whatever its grid.
class LaneLayout {
 public:
  /// `tensors` name what lies in the row, in their order; lanes are spread over the `ranks` of a
  /// cluster. Throws Error when there are more lanes than ranks.
  LaneLayout(std::span<const LogicalTensor> tensors, int ranks, int lanes);

  int lanes() const { return static_cast<int>(begins_.size()) - 1; }
  /// The rank that carries a lane, and the lane that a rank carries, or -1.
  int rank_of(int lane) const { return rank_of_lane(lane, lanes(), ranks_); }
  int lane_of(int rank) const;
  /// Values of a lane.
  std::size_t count(int lane) const;

  /// Where a tensor of the row lies: its layout over the cluster's ranks, and where a rank's part
  /// begins in its lane's memory.
  const Layout& layout(std::size_t tensor) const { return layouts_.at(tensor); }
  std::size_t offset(std::size_t tensor, int rank) const;

 private:
  int ranks_;
  std::vector<std::int64_t> starts_;  // of tensors in the row, and its end
  std::vector<std::int64_t> begins_;  // of lanes in the row, and its end
  std::vector<Layout> layouts_;
};

}  // namespace train
