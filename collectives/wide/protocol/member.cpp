#include "collectives/wide/protocol/member.hpp"

#include <algorithm>
#include <utility>

#include "collectives/error.hpp"

namespace train::wide {

MemberActions Member::connected(TimeMs now_ms) {
  MemberActions out;
  connected_ = true;
  coordinator_ = HeartbeatDeadline(config_.heartbeat, now_ms);
  beat_at_ms_ = now_ms + config_.heartbeat.interval_ms;
  requested_ = since_ != 0;  // who is in the epoch is told its lease now
  Hello hello{config_.job, config_.rounds_total, config_.self, config_.offer, committed_, {},
              since_};
  if (pending_) hello.pending = pending_->id;
  out.push_back(Send{hello});
  out.push_back(Send{Links{links_}});
  say_position(out);
  if (notice_ms_) out.push_back(Send{Leave{*notice_ms_}});
  out.push_back(WakeAt{std::min(beat_at_ms_, coordinator_.deadline_ms())});
  return out;
}

/// What the coordinator may have missed, or forgotten by a restart.
void Member::say_position(MemberActions& out) const {
  if (pending_) {
    out.push_back(Send{*pending_});
  } else if (failed_) {
    out.push_back(Send{*failed_});
  } else if (frozen_ && !running_) {
    out.push_back(Send{*frozen_});
  }
}

MemberActions Member::disconnected() {
  connected_ = false;
  return {};
}

MemberActions Member::tick(TimeMs now_ms) {
  MemberActions out;
  if (!connected_) return out;
  if (now_ms >= coordinator_.deadline_ms()) {
    connected_ = false;
    out.push_back(Log{Log::Level::warning, "the coordinator is silent: connecting again"});
    out.push_back(Reconnect{});
    return out;
  }
  if (now_ms >= beat_at_ms_) {
    out.push_back(Send{Heartbeat{++beats_}});
    beat_at_ms_ = now_ms + config_.heartbeat.interval_ms;
  }
  out.push_back(WakeAt{std::min(beat_at_ms_, coordinator_.deadline_ms())});
  return out;
}

MemberActions Member::links_changed(std::vector<LinkInfo> up) {
  links_ = std::move(up);
  return {Send{Links{links_}}};
}

MemberActions Member::receive(const Message& message, TimeMs now_ms) {
  MemberActions out;
  if (std::holds_alternative<Beat>(message)) {
    coordinator_.beat(now_ms);
  } else {
    coordinator_.alive(now_ms);
  }
  std::visit([&](const auto& m) { on(m, out); }, message);
  return out;
}

void Member::on(const Directory& directory, MemberActions& out) {
  const auto self = std::find_if(directory.peers.begin(), directory.peers.end(),
                                 [&](const Directory::Peer& p) { return p.self == config_.self; });
  const std::uint64_t since = self != directory.peers.end() ? self->since : 0;
  epoch_ = directory.next.epoch;
  const bool enters = since != 0 && since != since_;
  if (since != since_) {
    if (since_ != 0) discard("the job went on without this cluster", out);
    since_ = since;
    if (enters) stop_fetch(out);
    first_round_ = self != directory.peers.end() ? self->first_round : 0;
  }
  if (since_ == 0 || directory.next.round != round()) return;
  drop_attempts_below(directory.next.attempt, out);
  if (enters) begin_round(out);
}

void Member::begin_round(MemberActions& out) {
  if (first_round_ > round()) {
    // The others are in the middle of this round: take its result, train from the next one on.
    frozen_ = Ready{{epoch_, round(), attempt_}, 0, 0, committed_.hash, {}, bandwidth_kbit_};
    out.push_back(Send{*frozen_});
    return;
  }
  out.push_back(BeginRound{round()});
}

/// Attempts below this one will never commit: their results are worthless, their input is not.
void Member::drop_attempts_below(std::uint32_t attempt, MemberActions& out) {
  if (attempt <= attempt_ && !(failed_ && failed_->id.attempt < attempt)) return;
  attempt_ = std::max(attempt_, attempt);
  if (running_) out.push_back(StopExchange{*running_});
  if (pending_) out.push_back(StopExchange{pending_->id});
  running_.reset();
  pending_.reset();
  failed_.reset();
  if (frozen_) {
    frozen_->next = {epoch_, round(), attempt_};
    out.push_back(Send{*frozen_});
  }
}

void Member::discard(const std::string& reason, MemberActions& out) {
  if (running_) out.push_back(StopExchange{*running_});
  if (pending_ && !applying_) out.push_back(StopExchange{pending_->id});
  running_.reset();
  pending_.reset();
  failed_.reset();
  frozen_.reset();
  attempt_ = 1;
  leased_ = {};
  taken_ = {};
  requested_ = exhausted_ = false;
  finish_early_.reset();
  out.push_back(Discard{reason});
  // While a commit is being applied, applied() says it.
  if (!applying_) out.push_back(Send{Holds{committed_}});
}

void Member::on(const Lease& lease, MemberActions& out) {
  if (since_ == 0 || lease.epoch < since_) return;
  leased_ = lease.ranges;
  requested_ = false;
  exhausted_ = lease.exhausted;
  out.push_back(LeaseChanged{lease.exhausted});
}

RangeSet Member::available() const {
  RangeSet left = leased_;
  left.remove(taken_);
  if (frozen_) left.remove(frozen_->used);
  return left;
}

Member::Taken Member::take(std::uint64_t count) {
  Taken result;
  if (since_ == 0) return result;
  RangeSet left = available();
  if (left.size() < count) top_up_lease(std::max(count, config_.lease_samples), result.actions);
  if (left.size() < count && !exhausted_) return result;
  result.samples = left.take(count);
  taken_.add(result.samples);
  return result;
}

void Member::stop_fetch(MemberActions& out) {
  if (fetching_) out.push_back(StopFetch{});
  fetching_.reset();
}

/// Asks for what is missing to so many samples that are not taken yet.
void Member::top_up_lease(std::uint64_t untaken, MemberActions& out) {
  const std::uint64_t left = available().size();
  if (requested_ || !connected_ || left >= untaken) return;
  requested_ = true;
  out.push_back(Send{LeaseRequest{epoch_, untaken - left}});
}

void Member::on(const Finish& finish, MemberActions& out) {
  if (since_ == 0 || finish.epoch < since_) return;
  // The commit before it may be applied late, in the middle of that round: applied() says it.
  if (applying_ && finish.round == applying_->id.round + 1) finish_early_ = finish.round;
  if (finish.round != round() || frozen_) return;
  out.push_back(FinishRound{finish.round});
}

MemberActions Member::round_finished(std::uint64_t tokens, std::uint32_t inner_steps) {
  if (since_ == 0 || frozen_) return {};  // discarded meanwhile
  frozen_ = Ready{
      {epoch_, round(), attempt_}, tokens, inner_steps, committed_.hash, taken_, bandwidth_kbit_};
  taken_ = {};
  return {Send{*frozen_}};
}

void Member::on(const Start& start, MemberActions& out) {
  const ExchangeId& id = start.id;
  if (since_ == 0 || id.epoch != epoch_ || id.round != round() || id.attempt < attempt_) return;
  if (!frozen_ || applying_ || running_ == id || (pending_ && pending_->id == id)) return;
  if (failed_ && failed_->id == id) return;
  drop_attempts_below(id.attempt, out);
  attempt_ = id.attempt;
  running_ = id;
  out.push_back(RunExchange{start});
  // For the next round, while this one is exchanged. All have taken this round's samples by now, so
  // what each round is trained on lies together.
  top_up_lease(config_.lease_samples, out);
}

MemberActions Member::exchange_done(const ExchangeId& id, std::uint64_t hash) {
  if (running_ != id) return {};
  running_.reset();
  pending_ = Done{id, hash};
  return {Send{*pending_}};
}

MemberActions Member::exchange_failed(const ExchangeId& id, const std::string& peer) {
  if (running_ != id) return {};
  running_.reset();
  failed_ = Failed{id, peer};
  return {Send{*failed_}};
}

void Member::on(const Abort& abort, MemberActions& out) {
  if (since_ == 0 || abort.id.round != round()) return;
  drop_attempts_below(abort.id.attempt + 1, out);
}

void Member::on(const Commit& commit, MemberActions& out) {
  finished_ = commit.finished;
  if (commit.state.id == committed_.id && !applying_ && finished_) tell_finished(out);
  if (applying_ || !pending_ || pending_->id != commit.state.id) return;
  if (pending_->hash != commit.state.hash) {
    const char* reason = "the coordinator commits another result than was agreed on";
    out.push_back(Stop{true, false, false, reason});
    return;
  }
  applying_ = commit.state;
  stop_fetch(out);
  out.push_back(ApplyExchange{commit.state});
}

MemberActions Member::applied(std::uint64_t hash) {
  invariant(applying_.has_value(), "a state applied without a commit");
  MemberActions out;
  if (frozen_) leased_.remove(frozen_->used);
  committed_ = *std::exchange(applying_, std::nullopt);
  const bool as_agreed = committed_.hash == hash;
  committed_.hash = hash;
  pending_.reset();
  frozen_.reset();
  attempt_ = 1;
  out.push_back(Send{Holds{committed_}});
  if (fetching_) out.push_back(FetchState{*fetching_});
  if (finished_) {
    if (as_agreed) tell_finished(out);  // else the coordinator has it fetched
  } else if (since_ != 0) {
    begin_round(out);
    if (finish_early_ == round() && !frozen_) out.push_back(FinishRound{round()});
  }
  finish_early_.reset();
  return out;
}

void Member::tell_finished(MemberActions& out) {
  if (!std::exchange(told_finished_, true)) out.push_back(JobFinished{});
}

void Member::on(const Fetch& fetch, MemberActions& out) {
  if (since_ != 0) return;
  fetching_ = fetch;
  if (!applying_) out.push_back(FetchState{fetch});  // else applied() says it
}

MemberActions Member::fetched(const ExchangeId& id, std::uint64_t hash) {
  if (!fetching_ || fetching_->state.id != id) return {};
  committed_ = std::exchange(fetching_, std::nullopt)->state;
  committed_.hash = hash;
  return {Send{Holds{committed_}}};
}

MemberActions Member::fetch_failed(const ExchangeId& id) {
  if (!fetching_ || fetching_->state.id != id) return {};
  const std::string source = std::exchange(fetching_, std::nullopt)->source.name;
  return {Send{FetchFailed{id, source}}};
}

MemberActions Member::leave(std::uint64_t notice_ms) {
  notice_ms_ = notice_ms;
  return {Send{Leave{notice_ms}}};
}

void Member::on(const Released& released, MemberActions& out) {
  const char* reason = "released";
  if (released.finished) reason = "the job is over, and no cluster has its last state for this one";
  out.push_back(Stop{false, released.last, released.finished, reason});
}

void Member::on(const Refused& refused, MemberActions& out) {
  out.push_back(Stop{true, false, false, refused.reason});
}

void Member::on(const Notice& notice, MemberActions& out) {
  out.push_back(Log{Log::Level::warning, "the coordinator says: " + notice.text});
}

}  // namespace train::wide
