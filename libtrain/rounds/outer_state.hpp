#pragma once

#include <memory>
#include <memory_resource>
#include <vector>

#include "collectives/wide/protocol/types.hpp"

namespace train {

/// What a lane holds, in memory that is booked as lanes'.
using LaneValues = std::pmr::vector<float>;

/// A lane's part of one fragment of the outer state: its parameters, then what the outer optimizer
/// keeps beside them, each as long. Never changed once it is there.
class OuterFragment {
 public:
  explicit OuterFragment(LaneValues values);

  const LaneValues& values() const { return values_; }
  /// XXH3 of the values.
  std::uint64_t hash() const { return hash_; }

 private:
  LaneValues values_;
  std::uint64_t hash_;
};

/// One lane of the outer state that an exchange's commit made. What that exchange did not touch is
/// shared with the state before. Never changed, so that a newcomer can be sent it while training
/// goes on.
struct OuterState {
  wide::ExchangeId id;
  std::vector<std::shared_ptr<const OuterFragment>> fragments;

  /// Equal in all clusters that hold this state.
  std::uint64_t hash() const;
  /// Values of each fragment.
  std::vector<std::size_t> sizes() const;
};

using OuterStateVersion = std::shared_ptr<const OuterState>;

}  // namespace train
