#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "collectives/wide/service/member_client.hpp"
#include "libtrain/rounds/egress_guard.hpp"

namespace train {

/// Whether this cluster leaves its job, why, and by when: because it was told to end, or because
/// its egress budget is nearly spent. Tells the coordinator, which lets it go at a good moment.
class Departure {
 public:
  Departure(wide::MemberClient& client, EgressGuard egress, std::chrono::milliseconds notice,
            std::chrono::milliseconds patience);

  EgressGuard& egress() { return egress_; }
  const EgressGuard& egress() const { return egress_; }

  /// Says what is decided to the coordinator: again when the notice has become shorter, and while
  /// the coordinator is away, so that what it hears first is true. `told` to end, from now on.
  void announce(bool told);
  /// Whether there is money for exchanges that cost so much; leaves the job otherwise.
  bool can_pay(double usd, int exchanges);
  /// There was none even for the next exchange.
  bool is_broke() const { return broke_; }
  /// The machine goes, whether the coordinator has answered or not: there must be time for a last
  /// checkpoint. Nothing before that, else what to say.
  std::optional<std::string> overdue() const;

  /// Why it has left, where others would say `otherwise`.
  std::string reason(const std::string& otherwise) const {
    return cannot_pay_.empty() ? otherwise : cannot_pay_;
  }
  bool budget_spent() const { return !cannot_pay_.empty(); }

 private:
  void leave(std::chrono::milliseconds notice);

  wide::MemberClient& client_;
  EgressGuard egress_;
  std::chrono::milliseconds notice_when_told_, patience_;
  std::optional<Clock::time_point> leave_by_;  // the end of the notice
  std::chrono::milliseconds notice_{0};
  Clock::time_point say_again_at_{};
  std::string cannot_pay_;  // not empty: why this cluster leaves
  bool broke_ = false;
};

}  // namespace train
