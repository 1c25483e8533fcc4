#pragma once

#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/service/member_client.hpp"
#include "libtrain/rounds/cluster_status.hpp"
#include "libtrain/rounds/departure.hpp"
#include "libtrain/rounds/order.hpp"
#include "libtrain/rounds/round_calendar.hpp"

namespace train {

/// Decides what a cluster's ranks do next, on its first rank: between what the protocol orders and
/// what the ranks report. Counts inner steps and takes samples for them.
class Conductor {
 public:
  Conductor(wide::MemberClient& client, RoundOptions options, const JobOptions& job,
            const RoundPlan& plan, const RoundCalendar& calendar, EgressGuard egress);

  /// `result`: the hash of the outer state that an exchange which is done would give.
  Order decide(const ClusterStatus& status, std::optional<std::uint64_t> result);
  /// Which clusters get this one's state when they ask; unset: all.
  std::optional<std::vector<std::string>> state_goes_to() const {
    return departure_.egress().state_goes_to(calendar_.fragments(round()));
  }

  // What became of orders.
  void trained(std::uint64_t tokens);
  void applied(const wide::StateInfo& state, std::uint64_t hash);
  void adopted(const wide::StateInfo& state, std::uint64_t hash);

 private:
  void report(const ClusterStatus& status, std::optional<std::uint64_t> result);
  std::optional<Order> translate(const wide::MemberOrder& order);
  std::optional<Order> roster();
  std::optional<Order> train();
  Order end_round();
  std::uint64_t take_tokens();
  Order after_apply(Order order);
  void begin_anew();
  bool in_round() const { return begun_ && !frozen_; }
  /// Trains the next round before this one's result is taken over; a commit is put off meanwhile.
  bool runs_ahead() const;
  bool round_is_over() const;
  std::uint64_t round() const { return committed_round_ + (frozen_ ? 2 : 1); }
  Clock::duration wait_for_orders() const;
  std::optional<Order> lost_patience();
  Order left(const std::string& why) const;
  /// Whether there is money for so many exchanges; leaves the job otherwise.
  bool pays(int exchanges);

  wide::MemberClient& client_;
  RoundOptions options_;
  std::string cluster_;
  std::uint64_t bandwidth_kbit_;  // 0: by measurement
  std::chrono::milliseconds patience_;
  std::int64_t batch_;
  RoundCalendar calendar_;
  Departure departure_;

  std::uint64_t committed_round_;
  bool begun_ = false;   // the protocol lets this round be trained, and finished
  bool frozen_ = false;  // a round is over, and its exchange not applied yet
  bool finish_ = false;  // the round is to end early
  bool exhausted_ = false;
  bool starved_ = false;  // wants samples, has none
  std::int64_t steps_ = 0;
  std::vector<std::uint64_t> tokens_;  // trained since they were exchanged, by fragment
  Clock::time_point round_began_{};
  std::optional<wide::ExchangeId> running_;  // and its end was not reported yet
  Clock::time_point running_since_;
  std::optional<wide::StateInfo> apply_;  // not applied yet
  std::optional<Order> after_apply_;
  std::optional<wide::StateInfo> fetching_;
  std::uint64_t roster_version_ = 0;
  std::vector<wide::LinkInfo> links_;
  std::string fatal_;
};

}  // namespace train
