#include "libtrain/metrics/overlap.hpp"

#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using train::Clock;
using train::measure_overlap;
using train::Overlap;
using train::TimeInterval;

namespace {

Clock::time_point second(int value) {
  return Clock::time_point(std::chrono::seconds(value));
}

TimeInterval from_to(int begin, int end) {
  return {second(begin), second(end)};
}

}  // namespace

TEST_CASE("Waiting counts only while the channel is busy") {
  const std::vector<TimeInterval> busy{from_to(10, 20), from_to(30, 40)};
  const std::vector<TimeInterval> waits{from_to(5, 12), from_to(18, 31), from_to(50, 60)};
  const Overlap overlap = measure_overlap(busy, waits);
  CHECK(overlap.busy_s == 20);
  CHECK(overlap.waited_busy_s == 2 + 2 + 1);
  CHECK(overlap.hidden_share() == 0.75);
}

TEST_CASE("All hidden, nothing hidden, and nothing to hide") {
  const std::vector<TimeInterval> busy{from_to(1, 3), from_to(3, 5)};
  const std::vector<TimeInterval> beside{from_to(0, 1), from_to(5, 9)};
  const std::vector<TimeInterval> around{from_to(0, 9)};
  CHECK(measure_overlap(busy, {}).hidden_share() == 1);
  CHECK(measure_overlap(busy, beside).hidden_share() == 1);
  CHECK(measure_overlap(busy, around).hidden_share() == 0);
  CHECK(measure_overlap({}, around).busy_s == 0);
  CHECK(std::isnan(measure_overlap({}, around).hidden_share()));
  const std::vector<TimeInterval> empty{from_to(2, 2), from_to(4, 3)};
  CHECK(std::isnan(measure_overlap(empty, around).hidden_share()));
  CHECK(measure_overlap(busy, empty).hidden_share() == 1);
}

TEST_CASE("Intervals in any order, overlapping at will, count each moment once") {
  constexpr int seed = 7, last = 60;
  INFO("seed ", seed);
  std::mt19937 random(seed);
  const auto draw = [&](std::vector<TimeInterval>& intervals, std::vector<bool>& covered) {
    for (auto left = random() % 8; left > 0; --left) {
      const int begin = static_cast<int>(random() % last);
      const int end = std::min(last, begin + static_cast<int>(random() % 12));
      intervals.push_back(from_to(begin, end));
      for (int i = begin; i < end; ++i) covered[static_cast<std::size_t>(i)] = true;
    }
  };
  for (int round = 0; round < 500; ++round) {
    CAPTURE(round);
    std::vector<TimeInterval> busy, waits;
    std::vector<bool> is_busy(last), is_waiting(last);
    draw(busy, is_busy);
    draw(waits, is_waiting);
    int busy_s = 0, both_s = 0;
    for (std::size_t i = 0; i < last; ++i) {
      busy_s += is_busy[i] ? 1 : 0;
      both_s += is_busy[i] && is_waiting[i] ? 1 : 0;
    }
    const Overlap overlap = measure_overlap(busy, waits);
    CHECK(overlap.busy_s == busy_s);
    CHECK(overlap.waited_busy_s == both_s);
  }
}
