#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/protocol/coordinator.hpp"

namespace train::wide {
namespace {

/// Exchanges wait for so many of a newcomer's fetches, each twice as long as for the one before.
constexpr std::uint32_t holds_max = 4;
/// Then it rests.
constexpr TimeMs fetch_rest_ms = 1'800'000;
/// Links that take longer to come up need a person.
constexpr TimeMs link_notice_ms = 15'000;

TimeMs hold_ms(TimeMs first_ms, std::uint32_t stale_fetches) {
  return first_ms << (stale_fetches - 1);
}

}  // namespace

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
    if (peer.fetch && peer.fetch->state.id != state_.committed->id) peer.fetch.reset();
    if (peer.fetch) {
      const auto source = peers_.find(peer.fetch->source.name);
      const bool there = source != peers_.end() && source->second.self == peer.fetch->source &&
                         source->second.session != 0;
      if (!there) peer.fetch.reset();
    }
    const bool undecided = !peer.holds || peer.pending == state_.committed->id;
    if (peer.fetch || undecided || holds_committed(peer)) continue;
    if (!due(peer.fetch_after_ms)) continue;
    // Who cannot enter does not fetch: it would have to again, after each commit.
    if (!finished() && !(due(peer.enter_after_ms) && can_enter_with(peer))) continue;
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

/// Whether it has a link to each member that stays.
bool Coordinator::can_enter_with(const Peer& newcomer) const {
  return std::all_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    return !stays(entry.second) || linked(newcomer, entry.second);
  });
}

/// To which members, and who sees it; empty if none is missing.
std::string Coordinator::missing_links(const Peer& newcomer) const {
  std::string text;
  for (const auto& [name, peer] : peers_) {
    if (!stays(peer) || linked(newcomer, peer)) continue;
    if (text.size() > 200) return text + ", and others";  // a text on the wire has an end
    if (!text.empty()) text += ", ";
    text += "to " + name;
    if (says_linked(newcomer, peer)) text += " (it sees one, the other end does not)";
    if (says_linked(peer, newcomer)) text += " (the other end sees one, it does not)";
  }
  return text;
}

/// Tells people what keeps a cluster out of the job when only they can change it.
bool Coordinator::tell_missing_links() {
  if (!state_.committed || finished()) return false;
  for (auto& [name, peer] : peers_) {
    const bool waits = peer.session != 0 && !in_epoch(peer) && !peer.leave_by_ms && !peer.released;
    const std::string missing = waits ? missing_links(peer) : "";
    if (missing.empty()) {
      peer.unlinked_ms.reset();
      peer.unlinked_told.clear();
      continue;
    }
    if (!peer.unlinked_ms) peer.unlinked_ms = now_ms_;
    if (!due(*peer.unlinked_ms + link_notice_ms) || peer.unlinked_told == missing) continue;
    peer.unlinked_told = missing;
    warn(fmt::format("cluster {} is kept out of the job by a missing link {}", name, missing));
    send(peer, Notice{fmt::format("cluster {} is kept out of the job by a missing link {}: can "
                                  "either end dial what the other advertises?",
                                  name, missing)});
  }
  return false;
}

/// After a commit: a newcomer that fetches the state before it, or has just got that, was too slow.
void Coordinator::fetch_again() {
  for (auto& [name, peer] : peers_) {
    if (in_epoch(peer) || peer.session == 0) continue;
    if (!peer.fetch && !peer.fetched) continue;
    peer.fetch.reset();
    peer.fetched = false;
    peer.held_ms.reset();
    if (++peer.stale_fetches <= holds_max || finished()) continue;
    warn(
        fmt::format("cluster {} does not get the state between two exchanges, though they waited "
                    "up to {} s for it: it tries again in {} min; give it a better link, or raise "
                    "--join-hold-seconds",
                    name, hold_ms(config_.join_hold_ms, holds_max) / 1000, fetch_rest_ms / 60'000));
    peer.stale_fetches = 0;
    peer.fetch_after_ms = now_ms_ + fetch_rest_ms;
  }
}

/// An exchange waits for a newcomer whose fetches came too late, each time longer, and not for
/// ever. Asked when all members are ready: until then it costs nothing.
bool Coordinator::holding_for_newcomer() {
  bool holding = false;
  for (auto& [name, peer] : peers_) {
    if (!peer.fetch || peer.stale_fetches == 0) continue;
    if (!peer.held_ms) {
      peer.held_ms = now_ms_;
      log(fmt::format("the exchange waits for cluster {}, which fetches the state", name));
    }
    const TimeMs patience_ms = hold_ms(config_.join_hold_ms, peer.stale_fetches);
    if (!due(*peer.held_ms + patience_ms)) holding = true;
  }
  return holding;
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
