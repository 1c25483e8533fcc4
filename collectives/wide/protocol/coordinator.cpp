#include "collectives/wide/protocol/coordinator.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "collectives/wide/protocol/journal.hpp"

namespace train::wide {

namespace {
constexpr std::size_t used_ranges_max = 1024;
// Of one round: more than anyone trains, and few enough that those of all clusters add up.
constexpr std::uint64_t tokens_max = std::uint64_t{1} << 48;
constexpr std::uint64_t lease_samples_max = std::uint64_t{1} << 32;
}  // namespace

Coordinator::Coordinator(CoordinatorConfig config, State state, TimeMs now_ms)
    : config_(config),
      state_(std::move(state)),
      adopted_ms_(now_ms),
      round_began_ms_(now_ms),
      attempt_began_ms_(now_ms),
      now_ms_(now_ms),
      called_ms_(now_ms) {
  HeartbeatConfig patience = config_.heartbeat;
  patience.floor_ms = patience.ceiling_ms = config_.restart_grace_ms;
  for (const EpochMember& member : state_.members) {
    Peer& peer = peers_[member.self.name];
    peer.self = member.self;
    peer.heartbeat = HeartbeatDeadline(patience, now_ms);
  }
}

/// Calls follow each other within an interval, as advance() asks. A gap much longer than that is
/// this process's own: a slow disk, a machine that was moved. What clusters sent meanwhile waits
/// unread, so it counts for nobody's silence, and for no other deadline.
void Coordinator::set_time(TimeMs now_ms) {
  const TimeMs interval_ms = config_.heartbeat.interval_ms;
  const TimeMs gap_ms = now_ms - called_ms_;
  if (gap_ms > 2 * interval_ms && !peers_.empty()) stood_still_ms_ += gap_ms - interval_ms;
  called_ms_ = std::max(called_ms_, now_ms);
  now_ms_ = called_ms_ - stood_still_ms_;
}

void Coordinator::heard(SessionId session, TimeMs now_ms) {
  set_time(now_ms);
  if (Peer* peer = by_session(session)) peer->heartbeat.alive(now_ms_);
}

CoordinatorActions Coordinator::receive(SessionId session, const Message& message, TimeMs now_ms) {
  set_time(now_ms);
  if (const auto* first = std::get_if<Hello>(&message)) {
    hello(session, *first);
  } else if (Peer* peer = by_session(session)) {
    peer->heartbeat.alive(now_ms_);
    std::visit([&](const auto& m) { on(*peer, m); }, message);
  } else {
    out_.push_back(Close{session});  // said no Hello, or was replaced
  }
  advance();
  return take_actions();
}

CoordinatorActions Coordinator::disconnected(SessionId session, TimeMs now_ms) {
  set_time(now_ms);
  if (Peer* peer = by_session(session)) {
    peer->session = 0;
    if (!in_epoch(*peer)) {
      gone_[peer->self.name] = {peer->self.incarnation, now_ms_};
      peers_.erase(std::string(peer->self.name));
    }
  }
  advance();
  return take_actions();
}

CoordinatorActions Coordinator::tick(TimeMs now_ms) {
  set_time(now_ms);
  advance();
  return take_actions();
}

void Coordinator::on(Peer& peer, const Heartbeat& heartbeat) {
  peer.heartbeat.beat(now_ms_);
  send(peer, Beat{heartbeat.sequence});
}

void Coordinator::on(Peer& peer, const Links& links) {
  peer.links = links.up;
}

void Coordinator::on(Peer& peer, const LeaseRequest& request) {
  const EpochMember* member = entry(peer);
  if (member == nullptr || request.epoch < member->since) return;
  const std::uint64_t samples = finished() ? 0 : std::min(request.samples, lease_samples_max);
  const RangeSet ranges = state_.ledger.propose(samples, config_.samples_total);
  if (!ranges.empty()) decide(Leased{peer.self.name, ranges});
  send(peer, Lease{state_.epoch, state_.ledger.leased(peer.self.name), ranges.empty()});
}

void Coordinator::on(Peer& peer, const Ready& ready) {
  const EpochMember* member = entry(peer);
  if (member == nullptr || ready.next.epoch < member->since) return;
  if (ready.next.round != state_.round() || finished()) return;
  RangeSet left = state_.ledger.leased(peer.self.name);
  if (ready.used.ranges().size() > used_ranges_max || !left.contains(ready.used)) {
    peer.dropped = "it trained on samples that it has not leased";
    return;
  }
  if (ready.tokens > tokens_max) {
    peer.dropped = fmt::format("it claims {} tokens for a round", ready.tokens);
    return;
  }
  left.remove(ready.used);
  if (left.ranges().size() > used_ranges_max) {
    peer.dropped = "it leaves its samples in too many pieces";
    return;
  }
  if (ready.state_hash != state_.committed->hash) {
    peer.dropped =
        fmt::format("its parameters differ from those of {}", to_string(state_.committed->id));
    return;
  }
  // An attempt that this member was told is over, by a coordinator that then died.
  if (exchanging() && ready.next.attempt > state_.in_flight->id.attempt) abort_exchange();
  if (exchanging() || ready.next.attempt != state_.attempts + 1) return;
  peer.ready = ready;
  if (!first_ready_ms_) first_ready_ms_ = now_ms_;
}

void Coordinator::on(Peer& peer, const Done& done) {
  if (!exchanging() || !in_epoch(peer) || done.id != state_.in_flight->id) return;
  peer.done = done.hash;
  if (!first_done_ms_) first_done_ms_ = now_ms_;
}

void Coordinator::on(Peer& peer, const Failed& failed) {
  if (exchanging() && in_epoch(peer) && failed.id == state_.in_flight->id) {
    peer.failed = failed.peer;
  }
}

void Coordinator::on(Peer& peer, const Holds& holds) {
  const StateInfo& state = holds.state;
  peer.holds = state;
  peer.pending.reset();
  if (peer.fetch && peer.fetch->state.id == state.id) {
    if (peer.fetch->state.hash != state.hash) peer.bad_sources.insert(peer.fetch->source.name);
    peer.fetch.reset();
    peer.refetch = false;
    peer.fetched = true;
  }
  if (!state_.committed) return;
  if (state_.committed->id != state.id) {
    // A fetch that ended just when the job went back, and this cluster was to go on from what it
    // had.
    if (in_epoch(peer)) peer.dropped = "it has another state";
    return;
  }
  if (state.hash != state_.committed->hash) {
    const std::string reason =
        fmt::format("its parameters have hash {:016x}, those of {} have {:016x}", state.hash,
                    to_string(state.id), state_.committed->hash);
    warn(fmt::format("cluster {} is wrong: {}; it has to fetch them", peer.self.name, reason));
    if (in_epoch(peer)) peer.dropped = reason;
    peer.told_finished = false;
  }
}

void Coordinator::on(Peer& peer, const FetchFailed& failed) {
  if (!peer.fetch || peer.fetch->state.id != failed.id) return;
  peer.bad_sources.insert(peer.fetch->source.name);
  peer.fetch.reset();
}

void Coordinator::on(Peer& peer, const Leave& leave) {
  constexpr std::uint64_t day_ms = 86'400'000;
  const TimeMs by_ms = now_ms_ + static_cast<TimeMs>(std::min(leave.notice_ms, day_ms));
  if (!peer.leave_by_ms) {
    log(fmt::format("cluster {} leaves, within {} ms", peer.self.name, leave.notice_ms));
    peer.leave_round = state_.round();
  }
  peer.leave_by_ms = std::min(by_ms, peer.leave_by_ms.value_or(by_ms));
  // Its work counts if the round ends in time: everyone exchanges early.
  if (in_epoch(peer)) finish_round();
}

void Coordinator::advance() {
  wake_ms_ = std::numeric_limits<TimeMs>::max();
  int steps = 0;
  while (expire_peers() || adopt_state() || release_leavers() || change_epoch() ||
         conclude_exchange() || end_inner_steps() || begin_exchange() || assign_fetches() ||
         conclude_job() || tell_missing_links()) {
    invariant(++steps < 10'000, "the coordinator's rules do not come to rest");
    wake_ms_ = std::numeric_limits<TimeMs>::max();
  }
  if (!peers_.empty()) due(now_ms_ + config_.heartbeat.interval_ms);
  if (wake_ms_ != std::numeric_limits<TimeMs>::max()) {
    out_.push_back(WakeAt{wake_ms_ + stood_still_ms_});
  }
}

bool Coordinator::due(TimeMs at_ms) {
  if (now_ms_ >= at_ms) return true;
  wake_ms_ = std::min(wake_ms_, at_ms);
  return false;
}

CoordinatorActions Coordinator::take_actions() {
  return std::exchange(out_, {});
}

void Coordinator::decide(const Record& record) {
  const std::string reason = refusal(state_, record);
  invariant(reason.empty(), reason.c_str());
  fold(state_, record);
  out_.push_back(Append{record, journal_frame(record)});
  if (++records_ >= config_.compact_after_records) {
    records_ = 0;
    out_.push_back(Compact{journal_frame(state_)});
  }
}

void Coordinator::send(const Peer& peer, Message message) {
  if (peer.session != 0) out_.push_back(SendTo{peer.session, std::move(message)});
}

void Coordinator::close(Peer& peer) {
  out_.push_back(Close{peer.session});
  peer.session = 0;
}

void Coordinator::log(std::string text, Log::Level level) {
  out_.push_back(Log{level, std::move(text)});
}

Coordinator::Peer* Coordinator::by_session(SessionId session) {
  for (auto& [name, peer] : peers_) {
    if (peer.session == session) return &peer;
  }
  return nullptr;
}

const EpochMember* Coordinator::entry(const Peer& peer) const {
  const EpochMember* member = state_.member(peer.self.name);
  return member != nullptr && member->self == peer.self ? member : nullptr;
}

bool Coordinator::same_job(std::uint64_t job, std::uint64_t rounds_total) const {
  return job == state_.job && rounds_total == state_.rounds_total;
}

bool Coordinator::holds_committed(const Peer& peer) const {
  return state_.committed && peer.holds && peer.holds->id == state_.committed->id &&
         peer.holds->hash == state_.committed->hash && !peer.refetch;
}

}  // namespace train::wide
