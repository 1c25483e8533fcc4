#pragma once

#include <memory>
#include <vector>

#include "collectives/wide/protocol/types.hpp"

namespace train {

/// One lane of the outer state that an exchange's commit made: the lane's parameters, then what the
/// outer optimizer keeps beside them, each as long as the lane. Never changed once it is there, so
/// that a newcomer can be sent it while training goes on.
struct OuterState {
  wide::ExchangeId id;
  std::vector<float> values;

  /// XXH3 of the values: equal in all clusters that hold this state.
  std::uint64_t hash() const;
};

using OuterStateVersion = std::shared_ptr<const OuterState>;

}  // namespace train
