#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"
#include "collectives/wide/protocol/messages.hpp"

namespace train {

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
    stop,     ///< the job is over (`number` 1; 3: and this cluster has not its result), or this
              ///< cluster leaves it (0; 2: its egress budget is spent), for `text`
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
};

/// The first rank's order on every rank. Collective over the cluster.
void share(Communicator& cluster, Order& order);

}  // namespace train
