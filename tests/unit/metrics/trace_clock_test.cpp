#include "libtrain/metrics/trace_clock.hpp"

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"

using train::Clock;
using train::Communicator;
using train::detail::ClockReading;
using train::detail::compare_clocks;
using train::detail::TraceClock;
using namespace std::chrono_literals;

namespace {

Clock::time_point at(Clock::duration time) {
  return Clock::time_point(time);
}

}  // namespace

TEST_CASE("Ranks that share a clock agree exactly; others to their own figure") {
  train::local::run(3, [](Communicator& world) {
    const ClockReading shared = compare_clocks(world);
    CHECK(shared.ahead == 0ns);
    CHECK((shared.accuracy > 0ns) == (world.rank() > 0));

    const Clock::duration truth = (world.rank() - 1) * 100h;
    const auto own_clock = [truth] { return Clock::now() + truth; };
    const ClockReading apart = compare_clocks(world, own_clock);
    const Clock::duration expected = world.rank() * 100h;
    CHECK(std::chrono::abs(apart.ahead - expected) <= apart.accuracy);
    const auto now = own_clock();
    const auto on_root = TraceClock(apart, compare_clocks(world, own_clock)).on_root(now);
    CHECK(std::chrono::abs(now - on_root - expected) <= apart.accuracy);
  });
}

TEST_CASE("Between readings drift is even, outside them the nearer one holds") {
  const TraceClock clock({at(100s), 10ms, 1us}, {at(200s), 20ms, 2us});
  CHECK(clock.on_root(at(100s)) == at(100s - 10ms));
  CHECK(clock.on_root(at(150s)) == at(150s - 15ms));
  CHECK(clock.on_root(at(200s)) == at(200s - 20ms));
  CHECK(clock.on_root(at(50s)) == at(50s - 10ms));
  CHECK(clock.on_root(at(300s)) == at(300s - 20ms));
  CHECK(clock.accuracy() == 2us);
}

TEST_CASE("Readings that differ by no more than their error mean no drift") {
  const TraceClock clock({at(100s), 10ms, 30us}, {at(101s), 10ms + 35us, 10us});
  CHECK(clock.on_root(at(100s)) == at(100s - 10ms - 35us));
  const TraceClock same_moment({at(5s), 1s, 1us}, {at(5s), 2s, 2us});
  CHECK(same_moment.on_root(at(5s)) == at(4s));
}
