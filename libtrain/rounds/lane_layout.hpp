#pragma once

#include <vector>

#include "libtrain/rounds/fragments.hpp"

namespace train {

/// The rank that carries a lane: lanes are spread evenly over a cluster's ranks.
inline int rank_of_lane(int lane, int lanes, int ranks) {
  return lane * ranks / lanes;
}

/// The parameters of each fragment one behind another, as one row of values that a cluster's lanes
/// share: lane l holds values [begin, end) of it, in whole blocks of 256. Every cluster with the
/// same number of lanes cuts the same way, whatever its grid.
class LaneLayout {
 public:
  /// `tensors` in the order of `fragments`; lanes are spread over the `ranks` of a cluster. Throws
  /// Error when there are more lanes than ranks.
  LaneLayout(std::span<const LogicalTensor> tensors, const Fragments& fragments, int ranks,
             int lanes);

  int lanes() const { return lanes_; }
  /// The rank that carries a lane, and the lane that a rank carries, or -1.
  int rank_of(int lane) const { return rank_of_lane(lane, lanes(), ranks_); }
  int lane_of(int rank) const;
  /// Values of a fragment that a lane has.
  std::size_t count(int fragment, int lane) const;

  /// Where a tensor lies: its layout over the cluster's ranks, and where a rank's part begins in
  /// its lane's memory of the fragment.
  const Layout& layout(std::size_t tensor) const { return layouts_.at(tensor); }
  std::size_t offset(std::size_t tensor, int rank) const;

 private:
  void add_fragment(std::span<const LogicalTensor> tensors);

  int ranks_, lanes_;
  std::vector<Layout> layouts_;                    // of tensors
  std::vector<std::vector<std::size_t>> offsets_;  // of tensors, by lane
  std::vector<std::vector<std::size_t>> counts_;   // of fragments, by lane
};

}  // namespace train
