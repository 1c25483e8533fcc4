#include "libtrain/rounds/departure.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace train {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds say_gap{500};
// Before the end of a notice; coordinators let clusters go before that. One that is away may not
// come back at all.
constexpr milliseconds margin{4'000}, margin_away{10'000};
// Of a cluster that has no money for another exchange: the coordinator lets it go at once.
constexpr milliseconds broke_notice{4'000};

}  // namespace

Departure::Departure(wide::MemberClient& client, EgressGuard egress, milliseconds notice,
                     milliseconds patience)
    : client_(client), egress_(std::move(egress)), notice_when_told_(notice), patience_(patience) {}

void Departure::announce(bool told) {
  if (told) leave(notice_when_told_);
  if (budget_spent()) leave(broke_ ? broke_notice : patience_);
}

void Departure::leave(milliseconds notice) {
  const auto now = Clock::now();
  const bool news = !leave_by_ || now + notice < *leave_by_;
  if (news) {
    leave_by_ = now + notice;
    notice_ = notice;
  }
  if (!news && (now < say_again_at_ || !client_.disconnected_since())) return;
  say_again_at_ = now + say_gap;
  const auto left = std::chrono::duration_cast<milliseconds>(*leave_by_ - now);
  client_.leave(static_cast<std::uint64_t>(std::max<std::int64_t>(left.count(), 0)));
}

bool Departure::can_pay(double usd, int exchanges) {
  if (egress_.can_pay(usd)) return true;
  if (cannot_pay_.empty()) cannot_pay_ = egress_.why_not(usd, exchanges);
  broke_ = exchanges == 1;
  return false;
}

std::optional<std::string> Departure::overdue() const {
  if (!leave_by_) return std::nullopt;
  const milliseconds longest = client_.disconnected_since() ? margin_away : margin;
  if (Clock::now() < *leave_by_ - std::min(longest, notice_ / 2)) return std::nullopt;
  return fmt::format("its notice of {} s is over, and the coordinator has not let it go",
                     static_cast<double>(notice_.count()) / 1000.0);
}

}  // namespace train
