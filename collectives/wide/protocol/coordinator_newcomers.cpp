#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/protocol/coordinator.hpp"

namespace train::wide {

/// The holder of the committed state with the shortest round trip, but for those that failed.
const Coordinator::Peer* Coordinator::nearest_source(const Peer& newcomer) const {
  const Peer* nearest = nullptr;
  std::uint32_t nearest_us = 0;
  for (const LinkInfo& link : newcomer.links) {
    const auto source = peers_.find(link.peer);
    if (source == peers_.end() || &source->second == &newcomer) continue;
    if (source->second.session == 0 || !holds_committed(source->second)) continue;
    if (newcomer.bad_sources.contains(link.peer)) continue;
    if (nearest == nullptr || link.rtt_us < nearest_us) {
      nearest = &source->second;
      nearest_us = link.rtt_us;
    }
  }
  return nearest;
}

/// Tells newcomers where to get the committed state. Not during an exchange: its commit would make
/// the state stale.
bool Coordinator::assign_fetches() {
  if (!state_.committed || exchanging()) return false;
  for (auto& [name, peer] : peers_) {
    if (in_epoch(peer) || peer.session == 0 || peer.leave_by_ms) continue;
    if (peer.fetch && peer.fetch->state.id != state_.committed->id) {
      // The job was faster than the fetch. The next exchange waits for the next fetch.
      ++peer.stale_fetches;
      peer.hold_until_ms = now_ms_ + config_.join_hold_ms;
      peer.fetch.reset();
    }
    if (peer.fetch) {
      const auto source = peers_.find(peer.fetch->source.name);
      const bool there = source != peers_.end() && source->second.self == peer.fetch->source &&
                         source->second.session != 0;
      if (!there) peer.fetch.reset();
    }
    const bool undecided = !peer.holds || peer.pending == state_.committed->id;
    if (peer.fetch || undecided || holds_committed(peer)) continue;
    if (!due(peer.fetch_after_ms)) continue;
    const Peer* source = nearest_source(peer);
    if (source == nullptr) {
      if (!peer.bad_sources.empty()) {
        peer.bad_sources.clear();
        peer.fetch_after_ms = now_ms_ + config_.rejoin_ms;
        due(peer.fetch_after_ms);
      }
      continue;
    }
    peer.fetch = Fetch{state_.committed_info(), source->self};
    log(fmt::format("cluster {} fetches the state of {} from {}", name,
                    to_string(state_.committed->id), source->self.name));
    send(peer, *peer.fetch);
  }
  return false;
}

/// An exchange waits for a newcomer whose last fetch came too late, but not for ever.
bool Coordinator::holding_for_newcomer() {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    const Peer& peer = entry.second;
    return peer.fetch && peer.stale_fetches > 0 && !due(peer.hold_until_ms);
  });
}

/// Lets leavers go: after the round they were in is committed, or when their time is short, and
/// never before another cluster has the state, if there is another.
bool Coordinator::release_leavers() {
  for (auto& [name, peer] : peers_) {
    if (!peer.leave_by_ms || peer.released || peer.session == 0) continue;
    if (in_epoch(peer) && peer.dropped.empty()) {
      const bool hurried = due(*peer.leave_by_ms - config_.leave_margin_ms);
      const bool round_over = state_.round() > peer.leave_round && !exchanging();
      if (!hurried && !round_over) continue;
      peer.dropped = "it leaves";
      return true;
    }
    const bool alone = std::none_of(peers_.begin(), peers_.end(), [&](const auto& other) {
      return other.first != name && !other.second.lost;
    });
    const bool kept = std::any_of(peers_.begin(), peers_.end(), [&](const auto& other) {
      return other.first != name && !other.second.leave_by_ms && other.second.session != 0 &&
             holds_committed(other.second);
    });
    if (!alone && !kept && !due(*peer.leave_by_ms)) continue;
    log(fmt::format("cluster {} is released{}", name, kept ? "" : "; nobody else has the state"));
    peer.released = true;
    send(peer, Released{!kept});
    return true;
  }
  return false;
}

}  // namespace train::wide
