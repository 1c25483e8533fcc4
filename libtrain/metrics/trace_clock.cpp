#include "libtrain/metrics/trace_clock.hpp"

#include <algorithm>
#include <cmath>
#include <span>

namespace train::detail {
namespace {

constexpr int round_trips = 10;
// Far from the small numbers that others choose.
constexpr int clock_tag = (1 << 19) + 1;

ClockReading ask_root(Communicator& ranks, const std::function<Clock::time_point()>& now) {
  ClockReading best{.accuracy = Clock::duration::max()};
  for (int trip = 0; trip < round_trips; ++trip) {
    std::int64_t question = 0, answer = 0;
    const auto asked = now();
    Work sent = ranks.send(std::span(&question, 1), 0, clock_tag);
    ranks.receive(std::span(&answer, 1), 0, clock_tag).wait();
    const auto half_trip = (now() - asked + Clock::duration(1)) / 2;
    sent.wait();
    if (half_trip >= best.accuracy) continue;
    const auto middle = asked + half_trip;
    best = {middle, middle.time_since_epoch() - Clock::duration(answer), half_trip};
  }
  if (std::chrono::abs(best.ahead) <= best.accuracy) best.ahead = {};
  return best;
}

void answer(Communicator& ranks, int peer, const std::function<Clock::time_point()>& now) {
  for (int trip = 0; trip < round_trips; ++trip) {
    std::int64_t question = 0;
    ranks.receive(std::span(&question, 1), peer, clock_tag).wait();
    std::int64_t time = now().time_since_epoch().count();
    ranks.send(std::span(&time, 1), peer, clock_tag).wait();
  }
}

}  // namespace

ClockReading compare_clocks(Communicator& ranks, const std::function<Clock::time_point()>& now) {
  if (ranks.rank() != 0) return ask_root(ranks, now);
  for (int peer = 1; peer < ranks.size(); ++peer) answer(ranks, peer, now);
  return {.at = now()};
}

TraceClock::TraceClock(ClockReading first, ClockReading last) : first_(first), last_(last) {
  // Drift that the readings cannot tell from their error is none.
  const auto drift = std::chrono::abs(last.ahead - first.ahead);
  if (first.at < last.at && drift > first.accuracy + last.accuracy) return;
  const auto& better = first.accuracy <= last.accuracy ? first : last;
  first_.ahead = last_.ahead = better.ahead;
}

Clock::time_point TraceClock::on_root(Clock::time_point moment) const {
  const auto drift = static_cast<double>((last_.ahead - first_.ahead).count());
  if (drift == 0) return moment - first_.ahead;
  const auto between = std::clamp(moment, first_.at, last_.at);
  const double part = static_cast<double>((between - first_.at).count()) /
                      static_cast<double>((last_.at - first_.at).count());
  return moment - first_.ahead - Clock::duration(std::llround(drift * part));
}

}  // namespace train::detail
