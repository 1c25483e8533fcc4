#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collectives/wide/protocol/coordinator.hpp"

namespace train::wide {

/// A peer that is silent for too long is gone; its connection too, so that it notices.
bool Coordinator::expire_peers() {
  for (auto& [name, peer] : peers_) {
    if (peer.lost || !due(peer.heartbeat.deadline_ms())) continue;
    if (peer.told_finished) {
      log(fmt::format("cluster {} has left", name));
    } else {
      warn(fmt::format("cluster {} is silent for too long: lost", name));
    }
    if (peer.session != 0) close(peer);
    if (in_epoch(peer)) {
      peer.lost = true;
      peer.holds.reset();
      peer.pending.reset();
    } else {
      peers_.erase(std::string(name));
    }
    return true;
  }
  return false;
}

/// Decides which state the job goes on from when no member has the committed one, or there is none
/// yet. A later commit is given up only after its holders had time to come back.
bool Coordinator::adopt_state() {
  if (finished()) return false;  // what has ended stays ended
  std::vector<const Peer*> present;
  for (const auto& [name, peer] : peers_) {
    if (peer.session == 0 || peer.released || peer.leave_by_ms || !peer.holds) continue;
    if (!refusal(state_, Adopted{peer.job, peer.rounds_total, *peer.holds}).empty()) continue;
    present.push_back(&peer);
  }
  if (holder_expected()) {
    holders_gone_ms_.reset();
    return false;
  }
  if (!holders_gone_ms_) {
    holders_gone_ms_ = now_ms_;
    if (state_.committed) {
      warn(fmt::format("no cluster has the state of {}: waiting for one that has",
                       to_string(state_.committed->id)));
    }
  }
  if (present.size() < std::max<std::uint64_t>(config_.clusters_min, 1)) return false;
  if (state_.committed && !due(*holders_gone_ms_ + config_.rollback_grace_ms)) return false;

  // The newest state; of several claims to it the one that most make, then the first by name.
  const Peer* best = nullptr;
  std::pair<ExchangeId, std::ptrdiff_t> best_rank;
  for (const Peer* peer : present) {
    const auto same = std::count_if(present.begin(), present.end(), [&](const Peer* other) {
      return other->holds == peer->holds && other->job == peer->job &&
             other->rounds_total == peer->rounds_total;
    });
    if (const auto rank = std::pair(peer->holds->id, same); best == nullptr || rank > best_rank) {
      best = peer;
      best_rank = rank;
    }
  }
  // Those of another job do not count for clusters_min: they are told, and the others wait on.
  if (refuse_other_jobs(best->job, best->rounds_total)) return true;
  if (state_.committed) {
    warn(
        fmt::format("THE JOB GOES BACK from {} to {}, the newest state that is left (of cluster "
                    "{}): samples {} and {} holes in them are what it was trained on",
                    to_string(state_.committed->id), to_string(best->holds->id), best->self.name,
                    best->holds->position.next, best->holds->position.holes.ranges().size()));
  } else {
    log(fmt::format("the job begins with {} clusters from {}", present.size(),
                    to_string(best->holds->id)));
  }
  decide(Adopted{best->job, best->rounds_total, *best->holds});
  aborted_ = false;
  adopted_ms_ = now_ms_;
  holders_gone_ms_.reset();
  for (auto peer = peers_.begin(); peer != peers_.end();) {
    peer->second.dropped.clear();
    peer = peer->second.session == 0 ? peers_.erase(peer) : std::next(peer);
  }
  return true;
}

/// Before there is a job, or at a step back: sends away who is here and differs from what is to be.
bool Coordinator::refuse_other_jobs(std::uint64_t job, std::uint64_t rounds_total) {
  const std::size_t before = peers_.size();
  for (auto at = peers_.begin(); at != peers_.end();) {
    Peer& peer = at->second;
    if (peer.session == 0 || (peer.job == job && peer.rounds_total == rounds_total)) {
      ++at;
      continue;
    }
    warn(fmt::format("cluster {} is refused: {}", peer.self.name, another_job_text));
    send(peer, Refused{another_job_text});
    close(peer);
    at = peers_.erase(at);
  }
  return peers_.size() != before;
}

/// Opens an epoch when members are gone, or newcomers can enter: at any time between exchanges,
/// and during one if a member of it is gone.
bool Coordinator::change_epoch() {
  if (!state_.committed) return false;
  std::vector<EpochMember> next;
  std::vector<const Peer*> together;
  for (const EpochMember& member : state_.members) {
    const auto peer = peers_.find(member.self.name);
    if (peer == peers_.end() || peer->second.self != member.self) continue;
    if (peer->second.lost || !peer->second.dropped.empty()) continue;
    next.push_back(member);
    together.push_back(&peer->second);
  }
  const bool all_stay = next.size() == state_.members.size();
  if (exchanging() && all_stay) return false;
  const bool round_begins = next.empty() || now_ms_ <= round_began_ms_ + config_.join_early_ms;
  const std::vector<const Peer*> newcomers = admissible(together);
  for (const Peer* peer : newcomers) {
    next.push_back({peer->self, state_.epoch + 1, state_.round() + (round_begins ? 0 : 1)});
  }
  // With nobody left, whoever comes back first decides: a member goes on as if nothing had been.
  if (next.empty() || (all_stay && newcomers.empty())) return false;
  if (state_.members.empty() && !gathered(next.size())) return false;
  std::sort(next.begin(), next.end(),
            [](const EpochMember& a, const EpochMember& b) { return a.self < b.self; });
  open_epoch(std::move(next));
  return true;
}

/// The newcomers that have the state and links to the members and to each other.
std::vector<const Coordinator::Peer*> Coordinator::admissible(std::vector<const Peer*> together) {
  if (finished()) return {};
  std::set<std::string> fresh;
  for (const auto& [name, peer] : peers_) {
    if (in_epoch(peer) || peer.session == 0 || peer.leave_by_ms) continue;
    if (!holds_committed(peer) || !due(peer.enter_after_ms)) continue;
    fresh.insert(name);
    together.push_back(&peer);
  }
  for (const std::string& name : whom_to_drop(
           broken_links(together), [&](const std::string& who) { return fresh.contains(who); })) {
    fresh.erase(name);
  }
  std::vector<const Peer*> newcomers;
  for (const std::string& name : fresh) newcomers.push_back(&peers_.at(name));
  return newcomers;
}

/// Whether the first epoch from a state can begin with `count` members: everyone who is there, or
/// who there is after some time.
bool Coordinator::gathered(std::size_t count) {
  const auto present = std::count_if(peers_.begin(), peers_.end(), [](const auto& entry) {
    return entry.second.session != 0 && !entry.second.leave_by_ms;
  });
  if (count >= config_.clusters_min && count == static_cast<std::size_t>(present)) return true;
  return due(adopted_ms_ + config_.gather_ms);
}

std::vector<Conflict> Coordinator::broken_links(const std::vector<const Peer*>& peers) const {
  std::vector<Conflict> broken;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    for (std::size_t j = i + 1; j < peers.size(); ++j) {
      if (!linked(*peers[i], *peers[j])) {
        broken.emplace_back(peers[i]->self.name, peers[j]->self.name);
      }
    }
  }
  return broken;
}

void Coordinator::open_epoch(std::vector<EpochMember> members) {
  if (exchanging()) abort_exchange();
  std::vector<std::string> names;
  for (const EpochMember& member : members) names.push_back(member.self.name);
  const std::vector<EpochMember> before = state_.members;
  const bool round_begins =
      before.empty() || std::none_of(before.begin(), before.end(), [&](const EpochMember& m) {
        return std::find(members.begin(), members.end(), m) != members.end();
      });
  decide(EpochOpened{state_.epoch + 1, std::move(members)});
  aborted_ = false;
  failures_ = 0;
  blamed_.clear();
  links_down_ms_.reset();
  if (round_begins) {
    round_began_ms_ = now_ms_;
    first_ready_ms_.reset();
    finishing_ = false;
  }
  log(fmt::format("epoch {}: {} from round {} on", state_.epoch, fmt::join(names, " "),
                  state_.round()));
  for (auto peer = peers_.begin(); peer != peers_.end();) {
    const auto was = std::find_if(before.begin(), before.end(), [&](const EpochMember& m) {
      return m.self == peer->second.self;
    });
    const bool left = was != before.end() && !in_epoch(peer->second);
    if (left) leave_epoch(peer->second);
    if (in_epoch(peer->second)) {
      if (was == before.end()) peer->second.entered_ms = now_ms_;
      peer->second.stale_fetches = 0;
      peer->second.fetched = false;
      peer->second.held_ms.reset();
      peer->second.bad_sources.clear();
    }
    peer = left && peer->second.session == 0 ? peers_.erase(peer) : std::next(peer);
  }
  broadcast_directory();
  if (!finishing_) return;
  for (const Peer* peer : member_peers()) send(*peer, Finish{state_.epoch, state_.round()});
}

/// From member to newcomer, of which nothing is known until it answers.
void Coordinator::leave_epoch(Peer& peer) {
  if (!peer.dropped.empty()) {
    warn(fmt::format("cluster {} is out of the epoch: {}", peer.self.name, peer.dropped));
  }
  // Who hangs would hold the others up as long again.
  const TimeMs out_ms = std::max(config_.rejoin_ms, std::exchange(peer.kept_waiting_ms, 0));
  peer.enter_after_ms = now_ms_ + (out_ms << std::min<std::uint32_t>(peer.drops++, 6));
  peer.dropped.clear();
  peer.holds.reset();
  peer.ready.reset();
  peer.done.reset();
  peer.failed.reset();
}

void Coordinator::broadcast_directory() {
  Directory directory{next_exchange(), {}};
  for (const auto& [name, peer] : peers_) {
    const EpochMember* member = entry(peer);
    directory.peers.push_back({peer.self, peer.offer, member != nullptr ? member->since : 0,
                               member != nullptr ? member->first_round : 0});
  }
  for (const auto& [name, peer] : peers_) send(peer, directory);
}

/// Both ends have to say so.
bool Coordinator::linked(const Peer& a, const Peer& b) const {
  return says_linked(a, b) && says_linked(b, a);
}

bool Coordinator::says_linked(const Peer& from, const Peer& to) {
  return std::any_of(from.links.begin(), from.links.end(),
                     [&](const LinkInfo& link) { return link.peer == to.self.name; });
}

bool Coordinator::stays(const Peer& peer) const {
  return in_epoch(peer) && !peer.lost && peer.dropped.empty() && !peer.leave_by_ms;
}

}  // namespace train::wide
