#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "tests/wide/simulator/world.hpp"

namespace train::wide::sim {

void World::run_exchange(Cluster& cluster, const Start& start) {
  const ExchangeId id = start.id;
  say(cluster.name, "runs " + to_string(id));
  checks_.exchange_started(cluster.process(), id, cluster.seen_epoch);
  Input input = cluster.frozen;
  input.self = {cluster.name, cluster.incarnation};
  checks_.input(cluster.process(), id, input);
  cluster.running.insert(id);
  Exchange& exchange = exchanges_[id];
  if (!exchange.inputs.empty()) {
    require(std::ranges::equal(exchange.start.participants, start.participants, {},
                               &Start::Participant::slice_begin, &Start::Participant::slice_begin),
            "an exchange that was shared out in two ways");
  }
  exchange.start = start;
  exchange.inputs[cluster.name] = input;
  for (const Start::Participant& peer : start.participants) {
    if (peer.self.name == cluster.name) {
      require(peer.tokens == input.tokens, "an exchange with another weight than was told");
      continue;
    }
    const Cluster& other = clusters_.at(peer.self.name);
    const bool there = other.incarnation == peer.self.incarnation && other.up;
    if (!there || !link_up(cluster.name, peer.self.name) ||
        flaky_.contains(std::minmax(cluster.name, peer.self.name))) {
      fail_later(cluster, id, peer.self.name);
    }
  }
  delicate(&cluster);
  try_exchange(id);
}

/// When all have started, each finishes in its own time.
void World::try_exchange(const ExchangeId& id) {
  Exchange& exchange = exchanges_.at(id);
  if (exchange.moving || exchange.inputs.size() < exchange.start.participants.size()) return;
  exchange.moving = true;
  for (const Start::Participant& peer : exchange.start.participants) {
    Cluster& cluster = clusters_.at(peer.self.name);
    if (!cluster.up || cluster.incarnation != peer.self.incarnation) continue;
    after_hang(random_.between(20, 600), cluster, [this, &cluster, id] {
      if (!cluster.running.contains(id)) return;
      cluster.running.erase(id);
      const std::uint64_t hash = exchange_result(cluster.parameters, exchanges_.at(id).inputs);
      cluster.results[id] = hash;
      delicate(&cluster);
      carry_out(cluster, cluster.member->exchange_done(id, hash));
    });
  }
}

/// Every exchange with `lost` (and `only_with`, if not empty) that is not finished yet fails.
void World::fail_exchanges(const std::string& lost, const std::string& only_with) {
  for (auto& [name, cluster] : clusters_) {
    if (!cluster.up || name == lost || (!only_with.empty() && name != only_with)) continue;
    for (const ExchangeId& id : cluster.running) {
      const auto& peers = exchanges_.at(id).start.participants;
      if (std::any_of(peers.begin(), peers.end(),
                      [&](const auto& p) { return p.self.name == lost; })) {
        fail_later(cluster, id, lost);
      }
    }
  }
}

void World::fail_later(Cluster& cluster, const ExchangeId& id, const std::string& peer) {
  after(random_.between(5, 900), cluster, [this, &cluster, id, peer] {
    if (cluster.running.erase(id) == 0) return;
    say(cluster.name, fmt::format("fails {}, by {}", to_string(id), peer));
    fail_exchanges(cluster.name, "");
    carry_out(cluster, cluster.member->exchange_failed(id, peer));
  });
}

void World::apply_exchange(Cluster& cluster, const StateInfo& state) {
  delicate(&cluster);
  after_hang(random_.between(0, 60), cluster, [this, &cluster, state] {
    const auto result = cluster.results.find(state.id);
    require(result != cluster.results.end(),
            cluster.process() + " is to apply what it does not have: " + to_string(state.id));
    checks_.applied(cluster.process(), state, cluster.parameters, result->second);
    cluster.parameters = result->second;
    cluster.parameters_ms = now_ms_;
    cluster.results.erase(result);
    if (!healed_ && random_.chance(damage_percent_)) {
      say(cluster.name, "damages its parameters");
      cluster.parameters ^= 1;
    }
    cluster.frozen = {};
    say(cluster.name, fmt::format("applies {}: {:016x}", to_string(state.id), cluster.parameters));
    carry_out(cluster, cluster.member->applied(cluster.parameters));
    if (cluster.up && random_.chance(25)) {
      cluster.checkpoint.emplace(cluster.member->committed(), cluster.parameters);
    }
  });
}

void World::fetch_state(Cluster& cluster, const Fetch& fetch) {
  Cluster& source = clusters_.at(fetch.source.name);
  delicate(random_.chance(50) ? &source : &cluster);
  const std::uint64_t order = ++cluster.fetch_order;
  const bool there = link_up(cluster.name, source.name) &&
                     source.incarnation == fetch.source.incarnation &&
                     source.member->committed().id == fetch.state.id;
  after(random_.between(50, 3000), cluster,
        [this, &cluster, &source, fetch, order, there, snapshot = source.parameters] {
          if (order != cluster.fetch_order) return;
          const bool still_there =
              link_up(cluster.name, source.name) && source.incarnation == fetch.source.incarnation;
          if (!there || !still_there) {
            say(cluster.name, "fetch fails");
            carry_out(cluster, cluster.member->fetch_failed(fetch.state.id));
            return;
          }
          cluster.parameters = snapshot;
          cluster.parameters_ms = now_ms_;
          checks_.held(cluster.name, fetch.state.id);
          say(cluster.name, "has fetched " + to_string(fetch.state.id));
          carry_out(cluster, cluster.member->fetched(fetch.state.id, snapshot));
        });
}

std::map<std::string, Holder> World::within_reach(const std::string& name) const {
  constexpr TimeMs settled_ms = 1'500;
  std::map<std::string, Holder> holders = living();
  std::erase_if(holders, [&](const auto& entry) {
    const Cluster& cluster = clusters_.at(entry.second.name);
    const auto connection = connections_.find(cluster.session);
    if (cluster.name == name || cluster.leaving || cluster.way != Way::normal) return true;
    if (connection == connections_.end() || connection->second.silent) return true;
    const auto link = links_up_ms_.find(std::minmax(name, cluster.name));
    if (!link_up(name, cluster.name)) return true;
    const TimeMs settled_since =
        std::max({cluster.session_ms, cluster.way_until_ms, cluster.parameters_ms, held_until_ms_,
                  link != links_up_ms_.end() ? link->second : 0});
    return now_ms_ <= settled_since + settled_ms;
  });
  return holders;
}

}  // namespace train::wide::sim
