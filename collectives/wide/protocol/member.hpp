#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/protocol/actions.hpp"
#include "collectives/wide/protocol/heartbeat.hpp"
#include "collectives/wide/protocol/messages.hpp"

namespace train::wide {

struct MemberConfig {
  std::uint64_t job = 0;
  std::uint64_t rounds_total = 0;  // 0: the job does not end by count of rounds
  Identity self;  // the incarnation grows with every start of the cluster (a time will do)
  Offer offer;
  std::uint64_t lease_samples = 0;  // untaken ones to have when a round begins
  HeartbeatConfig heartbeat;
};

/// A cluster's side of the protocol (README.md): what it may train, when it exchanges, and which
/// outer state it holds. One per cluster. Every call returns what to do, in order.
class Member {
 public:
  /// `state` is the outer state it has: of a checkpoint, or the one built from the seed.
  Member(MemberConfig config, StateInfo state) : config_(std::move(config)), committed_(state) {}

  MemberActions connected(TimeMs now_ms);
  MemberActions disconnected();
  MemberActions receive(const Message& message, TimeMs now_ms);
  MemberActions tick(TimeMs now_ms);
  /// The links that are up now, all of them.
  MemberActions links_changed(std::vector<LinkInfo> up);

  struct Taken {
    RangeSet samples;  // empty: nothing is leased now; LeaseChanged tells when to try again
    MemberActions actions;
  };
  /// Takes `count` leased samples for the next inner step: all of them or none, but for the last
  /// ones when nothing is left to lease. Asks for more if they are too few.
  Taken take(std::uint64_t count);
  /// What this cluster sends when it has much to send, from the next round_finished() on.
  void bandwidth_measured(std::uint64_t kbit) { bandwidth_kbit_ = kbit; }
  /// Freezes what was taken and trained since the last call as the input of the round's exchange.
  MemberActions round_finished(std::uint64_t tokens, std::uint32_t inner_steps);
  /// `hash` is that of the outer state that applying the result would give.
  MemberActions exchange_done(const ExchangeId& id, std::uint64_t hash);
  MemberActions exchange_failed(const ExchangeId& id, const std::string& peer);
  /// The outer state is now that of ApplyExchange; `hash` is computed from it anew.
  MemberActions applied(std::uint64_t hash);
  MemberActions fetched(const ExchangeId& id, std::uint64_t hash);
  MemberActions fetch_failed(const ExchangeId& id);
  /// Wants to be gone within this time; Stop follows.
  MemberActions leave(std::uint64_t notice_ms);

  const StateInfo& committed() const { return committed_; }
  std::uint64_t round() const { return committed_.id.round + 1; }
  bool in_epoch() const { return since_ != 0; }

 private:
  void on(const Directory& directory, MemberActions& out);
  void on(const Lease& lease, MemberActions& out);
  void on(const Finish& finish, MemberActions& out);
  void on(const Start& start, MemberActions& out);
  void on(const Abort& abort, MemberActions& out);
  void on(const Commit& commit, MemberActions& out);
  void on(const Fetch& fetch, MemberActions& out);
  void on(const Released& released, MemberActions& out);
  void on(const Refused& refused, MemberActions& out);
  void on(const Notice& notice, MemberActions& out);
  template <typename T>
  void on(const T&, MemberActions&) {}  // Beat, and what only members say

  void begin_round(MemberActions& out);
  void drop_attempts_below(std::uint32_t attempt, MemberActions& out);
  void discard(const std::string& reason, MemberActions& out);
  void stop_fetch(MemberActions& out);
  void tell_finished(MemberActions& out);
  void top_up_lease(std::uint64_t untaken, MemberActions& out);
  void say_position(MemberActions& out) const;
  RangeSet available() const;

  MemberConfig config_;
  StateInfo committed_;

  // The connection.
  bool connected_ = false;
  HeartbeatDeadline coordinator_;
  TimeMs beat_at_ms_ = 0;
  std::uint64_t beats_ = 0;
  std::vector<LinkInfo> links_;

  // Membership.
  std::uint64_t epoch_ = 0;
  std::uint64_t since_ = 0;  // the epoch it entered; 0: outside
  std::uint64_t first_round_ = 0;
  std::optional<Fetch> fetching_;
  std::optional<std::uint64_t> notice_ms_;
  bool finished_ = false;
  bool told_finished_ = false;

  // Samples.
  RangeSet leased_;  // all of them, taken or not
  RangeSet taken_;   // since the last round_finished()
  bool requested_ = false;
  bool exhausted_ = false;

  std::uint64_t bandwidth_kbit_ = 0;

  // The round's exchange: first frozen, then running, then pending or failed.
  std::optional<Ready> frozen_;
  std::uint32_t attempt_ = 1;  // the first one that it can take part in
  std::optional<ExchangeId> running_;
  std::optional<Done> pending_;
  std::optional<Failed> failed_;
  std::optional<StateInfo> applying_;
  std::optional<std::uint64_t> finish_early_;  // the round after that
};

}  // namespace train::wide
