#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/slices.hpp"

namespace train::wide {

std::vector<Coordinator::Peer*> Coordinator::member_peers() {
  std::vector<Peer*> peers;
  for (const EpochMember& member : state_.members) {
    const auto peer = peers_.find(member.self.name);
    if (peer != peers_.end() && peer->second.self == member.self) peers.push_back(&peer->second);
  }
  return peers;
}

ExchangeId Coordinator::next_exchange() const {
  if (exchanging()) return state_.in_flight->id;
  return {state_.epoch, state_.round(), state_.attempts + 1};
}

Start Coordinator::start_message() const {
  Start start{state_.in_flight->id, {}};
  std::vector<std::uint64_t> bandwidths;
  for (const Contribution& c : state_.in_flight->contributions) {
    bandwidths.push_back(c.bandwidth_kbit);
    start.participants.push_back({c.self, c.tokens, 0});
  }
  const std::vector<std::uint32_t> cuts = cuts_by_bandwidth(bandwidths);
  for (std::size_t i = 0; i < cuts.size(); ++i) start.participants[i].slice_begin = cuts[i];
  return start;
}

/// Starts the round's exchange when every member of the epoch is ready for it.
bool Coordinator::begin_exchange() {
  if (exchanging() || state_.members.empty() || finished()) return false;
  const std::vector<Peer*> members = member_peers();
  const bool all_ready = members.size() == state_.members.size() &&
                         std::all_of(members.begin(), members.end(), [](const Peer* p) {
                           return p->session != 0 && p->ready && p->dropped.empty();
                         });
  if (!all_ready) {
    links_down_ms_.reset();
    return false;
  }
  if (holding_for_newcomer()) return false;

  const std::vector<Conflict> broken = broken_links({members.begin(), members.end()});
  if (!broken.empty()) {
    if (!links_down_ms_) links_down_ms_ = now_ms_;
    if (!due(*links_down_ms_ + config_.link_grace_ms)) return false;
    blame(broken, "its links to other members are down");
    return true;
  }
  links_down_ms_.reset();

  AttemptStarted attempt{next_exchange(), {}};
  for (Peer* peer : members) {
    const Ready& ready = *peer->ready;
    attempt.contributions.push_back({peer->self, ready.tokens, ready.used, ready.bandwidth_kbit});
    peer->done.reset();
    peer->failed.reset();
  }
  decide(attempt);
  aborted_ = false;
  attempt_began_ms_ = now_ms_;
  first_done_ms_.reset();
  const Start start = start_message();
  for (const Peer* peer : members) send(*peer, start);
  return true;
}

/// Commits what all have done, aborts what one could not do.
bool Coordinator::conclude_exchange() {
  if (!exchanging()) return false;
  const std::vector<Peer*> members = member_peers();
  for (const Peer* peer : members) {
    if (!peer->failed) continue;
    warn(fmt::format(
        "{}: cluster {} cannot finish it{}", to_string(state_.in_flight->id), peer->self.name,
        peer->failed->empty() ? "" : fmt::format(", {} does not answer", *peer->failed)));
    blamed_.emplace_back(peer->self.name, peer->failed->empty() ? peer->self.name : *peer->failed);
    ++failures_;
    abort_exchange();
    if (failures_ >= config_.attempts_max) {
      blame(std::exchange(blamed_, {}), "exchanges with it fail");
      failures_ = 0;
    }
    return true;
  }
  const bool all_done = members.size() == state_.members.size() &&
                        std::all_of(members.begin(), members.end(),
                                    [](const Peer* p) { return p->done.has_value(); });
  if (!all_done) return end_overdue_exchange();
  const std::uint64_t hash = *members.front()->done;
  if (std::all_of(members.begin(), members.end(), [&](const Peer* p) { return p->done == hash; })) {
    commit_exchange(hash);
  } else {
    drop_disagreeing();
  }
  return true;
}

/// Members beat while an exchange of theirs hangs. Who has not done what others did long ago is
/// left out; an attempt that nobody has done in a very long time is tried again.
bool Coordinator::end_overdue_exchange() {
  if (first_done_ms_) {
    const TimeMs took_ms = *first_done_ms_ - attempt_began_ms_;
    if (!due(*first_done_ms_ + std::max(config_.laggard_ms, 3 * took_ms))) return false;
  } else {
    const TimeMs patience_ms = std::max(config_.exchange_ms, 4 * longest_exchange_ms_);
    if (!due(attempt_began_ms_ + (patience_ms << failures_))) return false;
    warn(fmt::format("{}: nobody has finished it in {} s", to_string(state_.in_flight->id),
                     (now_ms_ - attempt_began_ms_) / 1000));
  }
  std::vector<Conflict> unfinished;
  for (Peer* peer : member_peers()) {
    if (peer->done) continue;
    unfinished.emplace_back(peer->self.name, peer->self.name);
    peer->kept_waiting_ms = now_ms_ - first_done_ms_.value_or(attempt_began_ms_);
  }
  ++failures_;
  if (first_done_ms_ || failures_ >= config_.attempts_max) {
    blame(unfinished, "it does not finish the exchange");
    failures_ = 0;
  }
  abort_exchange();
  return true;
}

void Coordinator::commit_exchange(std::uint64_t hash) {
  const ExchangeId id = state_.in_flight->id;
  decide(Committed{id, hash});
  const Commit commit{state_.committed_info(), finished()};
  for (Peer* peer : member_peers()) {
    peer->holds.reset();
    peer->pending = id;
    peer->ready.reset();
    peer->done.reset();
    peer->drops = 0;
    peer->kept_waiting_ms = 0;
    peer->told_finished = commit.finished;
    send(*peer, commit);
  }
  log(fmt::format("{} is committed: {:016x}{}", to_string(id), hash,
                  commit.finished ? ", the last of the job" : ""));
  longest_exchange_ms_ = std::max(longest_exchange_ms_, now_ms_ - attempt_began_ms_);
  round_began_ms_ = now_ms_;
  first_ready_ms_.reset();
  finishing_ = false;
  failures_ = 0;
  blamed_.clear();
  fetch_again();
}

/// Before the commit, so it costs a retry and no state: whoever would get other parameters than
/// most fetches them anew. Of two equal halves the one with the first name stays.
void Coordinator::drop_disagreeing() {
  std::map<std::uint64_t, int> votes;
  for (const Peer* peer : member_peers()) ++votes[*peer->done];
  std::uint64_t right = *member_peers().front()->done;
  for (const auto& [hash, count] : votes) {
    if (count > votes[right]) right = hash;
  }
  for (Peer* peer : member_peers()) {
    if (*peer->done == right) continue;
    peer->dropped =
        fmt::format("the exchange would give it hash {:016x}, others {:016x}", *peer->done, right);
    peer->refetch = true;
  }
}

void Coordinator::blame(const std::vector<Conflict>& conflicts, const char* why) {
  std::vector<std::string> names =
      whom_to_drop(conflicts, [&](const std::string& name) { return state_.member(name); });
  if (names.size() == state_.members.size()) names.pop_back();  // somebody has to go on
  for (const std::string& name : names) {
    if (const auto peer = peers_.find(name); peer != peers_.end()) peer->second.dropped = why;
  }
}

/// Members answer with Ready for the next attempt: then they have stopped this one.
void Coordinator::abort_exchange() {
  const Abort abort{state_.in_flight->id};
  aborted_ = true;
  first_ready_ms_.reset();
  first_done_ms_.reset();
  for (Peer* peer : member_peers()) {
    peer->ready.reset();
    peer->done.reset();
    peer->failed.reset();
    send(*peer, abort);
  }
}

/// The round's time budget, others' patience, and members that do not keep to them.
bool Coordinator::end_inner_steps() {
  if (exchanging() || state_.members.empty() || finished()) return false;
  if (!finishing_) {
    const bool over = config_.round_ms > 0 && due(round_began_ms_ + config_.round_ms);
    if (!over && !kept_waiting()) return false;
    finish_round();
    return true;
  }
  const std::vector<Peer*> members = member_peers();
  const bool any_ready = std::any_of(members.begin(), members.end(),
                                     [](const Peer* p) { return p->ready.has_value(); });
  if (!any_ready || !due(finish_ms_ + config_.straggler_ms)) return false;
  bool dropped = false;
  for (Peer* peer : members) {
    if (peer->session == 0 || peer->ready || !peer->dropped.empty()) continue;
    // Who has only just entered has only just heard of it.
    if (!due(peer->entered_ms + config_.straggler_ms)) continue;
    peer->dropped = "it does not end its round";
    if (first_ready_ms_) peer->kept_waiting_ms = now_ms_ - *first_ready_ms_;
    dropped = true;
  }
  return dropped;
}

/// Whether some members have been ready for long, and for much longer than their round took, while
/// others are not: these may hang although they beat.
bool Coordinator::kept_waiting() {
  if (!first_ready_ms_) return false;
  const std::vector<Peer*> members = member_peers();
  const auto late = [](const Peer* p) { return p->session != 0 && !p->ready; };
  if (std::none_of(members.begin(), members.end(), late)) return false;
  const TimeMs took_ms = *first_ready_ms_ - round_began_ms_;
  return due(*first_ready_ms_ + std::max(config_.laggard_ms, 3 * took_ms));
}

void Coordinator::finish_round() {
  if (finishing_ || exchanging()) return;
  finishing_ = true;
  finish_ms_ = now_ms_;
  for (const Peer* peer : member_peers()) send(*peer, Finish{state_.epoch, state_.round()});
}

}  // namespace train::wide
