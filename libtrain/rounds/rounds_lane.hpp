#pragma once

#include <functional>
#include <map>
#include <mutex>

#include "libtrain/rounds/conductor.hpp"
#include "libtrain/rounds/rounds.hpp"

namespace train {

/// What a rank that carries a lane has.
struct Rounds::Lane {
  Lane(std::span<const std::size_t> counts, const LaneExchange::Options& options,
       std::unique_ptr<OuterOptimizer> o)
      : outer(std::move(o)), exchange(options, counts) {}

  std::unique_ptr<OuterOptimizer> outer;
  LaneExchange exchange;
  OuterStateVersion state;
  // What a checkpoint's state is loaded into, by fragment.
  std::vector<std::shared_ptr<LaneValues>> loading;
  std::shared_ptr<OuterState> result;   // what the exchange that is done would make
  std::map<int, LaneValues> snapshots;  // fragments as the exchange took them, to run ahead
  std::unique_ptr<LaneLinks> links;     // from begin() on; goes first

  std::span<const float> parameters(int fragment) const {
    const auto& values = state->fragments[static_cast<std::size_t>(fragment)]->values();
    return std::span(values).first(values.size() / static_cast<std::size_t>(1 + outer->kept()));
  }
};

/// What the first rank has. Its lane's node brings the coordinator's messages, on a thread of the
/// node, for as long as the client is there.
struct Rounds::Leader {
  Leader(EgressOptions egress, std::function<void(const std::string&)> on_log)
      : meter(std::move(egress), std::move(on_log)) {}
  void with_client(const std::function<void(wide::MemberClient&)>& use) {
    const std::lock_guard lock(mutex);
    if (client) use(*client);
  }
  void close() {
    conductor.reset();
    if (client) client->stop();
    const std::lock_guard lock(mutex);
    client.reset();
  }

  EgressMeter meter;
  std::mutex mutex;
  std::unique_ptr<wide::MemberClient> client;
  std::unique_ptr<Conductor> conductor;
};

}  // namespace train
