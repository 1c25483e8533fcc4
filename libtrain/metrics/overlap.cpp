#include "libtrain/metrics/overlap.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace train {
namespace {

/// The same moments in disjoint intervals, in order.
std::vector<TimeInterval> merged(std::span<const TimeInterval> intervals) {
  std::vector<TimeInterval> sorted(intervals.begin(), intervals.end());
  std::erase_if(sorted, [](const TimeInterval& one) { return one.end <= one.begin; });
  std::ranges::sort(sorted, {}, &TimeInterval::begin);
  std::vector<TimeInterval> disjoint;
  for (const TimeInterval& next : sorted) {
    if (!disjoint.empty() && next.begin <= disjoint.back().end) {
      disjoint.back().end = std::max(disjoint.back().end, next.end);
    } else {
      disjoint.push_back(next);
    }
  }
  return disjoint;
}

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

double Overlap::hidden_share() const {
  return busy_s > 0 ? 1 - waited_busy_s / busy_s : std::numeric_limits<double>::quiet_NaN();
}

Overlap measure_overlap(std::span<const TimeInterval> busy, std::span<const TimeInterval> waits) {
  const auto channel = merged(busy);
  const auto waiting = merged(waits);
  Clock::duration total{}, waited{};
  for (const TimeInterval& one : channel) total += one.end - one.begin;
  for (auto c = channel.begin(), w = waiting.begin(); c != channel.end() && w != waiting.end();) {
    const auto begin = std::max(c->begin, w->begin);
    const auto end = std::min(c->end, w->end);
    if (begin < end) waited += end - begin;
    if (c->end < w->end) {
      ++c;
    } else {
      ++w;
    }
  }
  return {seconds(total), seconds(waited)};
}

}  // namespace train
