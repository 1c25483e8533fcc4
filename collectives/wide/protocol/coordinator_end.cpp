#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/protocol/coordinator.hpp"

namespace train::wide {

/// Whether the committed state is not lost: a member that may come back has it, or somebody who is
/// here, or somebody has its result and need only be told.
bool Coordinator::holder_expected() const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    const Peer& peer = entry.second;
    const bool sound_member = in_epoch(peer) && !peer.lost && peer.dropped.empty();
    return sound_member || (holds_committed(peer) && !peer.released) ||
           (state_.committed && peer.pending == state_.committed->id);
  });
}

/// When the job is over: tells those who have its last state, and lets go those who came too late
/// to get it. Nobody goes back behind the end for them.
bool Coordinator::conclude_job() {
  if (!finished()) return false;
  // Whoever fetches now is a source soon.
  const bool fetching = std::any_of(peers_.begin(), peers_.end(),
                                    [](const auto& entry) { return entry.second.fetch; });
  for (auto& [name, peer] : peers_) {
    if (peer.session == 0 || peer.released) continue;
    if (holds_committed(peer)) {
      if (!peer.told_finished) send(peer, Commit{state_.committed_info(), true});
      peer.told_finished = true;
      continue;
    }
    const bool undecided = !peer.holds || peer.pending == state_.committed->id;
    if (undecided || peer.leave_by_ms) continue;
    if (!peer.late_by_ms) peer.late_by_ms = now_ms_ + config_.late_ms;
    if (fetching) continue;
    if (holder_expected() && !due(*peer.late_by_ms)) continue;
    warn(fmt::format("cluster {} came too late: the job is over, and it cannot get the state of {}",
                     name, to_string(state_.committed->id)));
    peer.released = true;
    send(peer, Released{false, true});
  }
  return false;
}

bool Coordinator::everyone_told() const {
  return finished() && std::all_of(peers_.begin(), peers_.end(), [](const auto& entry) {
           const Peer& peer = entry.second;
           return peer.session == 0 || peer.told_finished || peer.released;
         });
}

bool Coordinator::concluded() const {
  if (!finished() || state_.members.empty()) return false;
  return std::all_of(state_.members.begin(), state_.members.end(), [&](const EpochMember& member) {
    const auto peer = peers_.find(member.self.name);
    return peer != peers_.end() && peer->second.self == member.self && peer->second.told_finished &&
           holds_committed(peer->second);
  });
}

}  // namespace train::wide
