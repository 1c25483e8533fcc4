#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/member.hpp"

namespace train::wide {

/// A coordinator, and what members say to it, message by message. Members have the state of the
/// seed unless they say otherwise.
struct Talk {
  explicit Talk(State state = {}) : coordinator(config(), std::move(state), 0) {}

  Coordinator coordinator;
  CoordinatorActions last;
  TimeMs now_ms = 0;
  std::uint64_t rounds_total = 0;
  bool heard_refusal = false;

  static CoordinatorConfig config() {
    CoordinatorConfig config;
    config.join_early_ms = 0;
    config.join_hold_ms = 3'000;
    config.heartbeat = {500, 10'000'000, 10'000'000, 6};
    return config;
  }
  static Offer offer() { return {{"host:1"}, 1}; }
  void say(SessionId session, const Message& message) {
    last = coordinator.receive(session, message, now_ms);
    heard_refusal = heard_refusal || heard<Refused>(session).has_value();
  }
  void join(SessionId session, const std::string& name, const std::string& peer,
            const StateInfo& state = {}) {
    say(session, Hello{1, rounds_total, {name, 1}, offer(), state, {}, 0});
    const CoordinatorActions first = last;
    say(session, Links{{{peer, 1}}});
    last.insert(last.begin(), first.begin(), first.end());
  }
  /// In steps: a single long one would be the coordinator's own sleep.
  void pass(TimeMs ms) {
    last.clear();
    for (const TimeMs end_ms = now_ms + ms; now_ms < end_ms;) {
      now_ms = std::min(end_ms, now_ms + config().heartbeat.interval_ms);
      const CoordinatorActions actions = coordinator.tick(now_ms);
      last.insert(last.end(), actions.begin(), actions.end());
    }
  }
  /// The last message of this kind to the session in the last answer.
  template <typename T>
  std::optional<T> heard(SessionId session) const {
    std::optional<T> found;
    for (const CoordinatorAction& action : last) {
      const auto* send = std::get_if<SendTo>(&action);
      if (send == nullptr || send->session != session) continue;
      if (const T* message = std::get_if<T>(&send->message)) found = *message;
    }
    return found;
  }
  bool heard_commit_of_the_end(SessionId session) const {
    const auto commit = heard<Commit>(session);
    return commit && commit->finished;
  }
  void ready(SessionId session, std::uint64_t bandwidth_kbit = 0) {
    const State& state = coordinator.state();
    say(session, Ready{{state.epoch, state.round(), state.attempts + 1},
                       5,
                       1,
                       state.committed->hash,
                       {},
                       bandwidth_kbit});
  }
  void done(SessionId session, std::uint64_t hash) {
    say(session, Done{coordinator.state().in_flight->id, hash});
  }
  void holds(SessionId session) { say(session, Holds{coordinator.state().committed_info()}); }
};

/// The only member b, which has been told to apply the commit of round 1 and its hash 7, perhaps
/// the job's last, and has not said that it has.
inline Member member_that_applies(bool the_last) {
  MemberConfig config;
  config.self = {"b", 1};
  Member member(config, {});
  member.connected(0);
  member.receive(Directory{{1, 1, 1}, {{{"b", 1}, {}, 1, 1}}}, 1);
  member.round_finished(1, 1);
  member.receive(Start{{1, 1, 1}, {{{"b", 1}, 1, 0}}}, 1);
  member.exchange_done({1, 1, 1}, 7);
  member.receive(Commit{{{1, 1, 1}, 7, {}}, the_last}, 1);
  return member;
}

}  // namespace train::wide
