#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"
#include "collectives/wide/protocol/messages.hpp"

namespace train {

/// How a cluster's part in its job has ended.
enum class JobEnd : std::uint8_t {
  left,
  finished,      ///< the job is over
  budget_spent,  ///< left because of the egress budget
  too_late,      ///< the job is over, and this cluster has not its result
};

/// What all ranks of a cluster do next, as its first rank decides.
struct Order {
  enum class Kind : std::uint8_t {
    idle,           ///< nothing yet
    train,          ///< `samples`, as inner step `number` of the job
    end_round,      ///< freeze what round `number` exchanges
    run_exchange,   ///< `start`
    stop_exchange,  ///< forget the attempt and its result
    apply,          ///< the result of `state.id`, whose state this is
    discard,        ///< back to the outer state, because of `text`
    fetch,          ///< `state` from the cluster `text`
    stop_fetch,
    adopt,    ///< what was fetched is the outer state now
    roster,   ///< `peers` are the job's clusters
    stop,     ///< for `text`; `number` is a JobEnd
    fail,     ///< with `text`
    cut_off,  ///< the same, but what the job has made so far can be saved
  };
  Kind kind = Kind::idle;
  std::uint64_t number = 0;
  wide::RangeSet samples;
  wide::Start start;
  wide::StateInfo state;
  std::vector<wide::Directory::Peer> peers;
  std::string text;
  /// Beside every order: the clusters that get this one's outer state when they ask; unset: all.
  std::optional<std::vector<std::string>> state_goes_to;
};

/// The first rank's order on every rank. Collective over the cluster.
void share(Communicator& cluster, Order& order);

}  // namespace train
