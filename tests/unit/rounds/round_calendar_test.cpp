#include "libtrain/rounds/round_calendar.hpp"

#include <limits>

#include <doctest/doctest.h>

using namespace train;

TEST_CASE("rounds cut the steps of a job, whatever divides, and each fragment has its turn") {
  for (const std::int64_t inner : {1, 7, 10, 100}) {
    for (const int fragments : {1, 2, 3, 7}) {
      if (fragments > inner) continue;
      for (const std::int64_t last : {1, 9, 10, 11, 205}) {
        CAPTURE(inner);
        CAPTURE(fragments);
        CAPTURE(last);
        const RoundCalendar calendar({.inner_steps = inner, .fragments = fragments}, last);
        const std::uint64_t rounds = calendar.rounds();
        CHECK(calendar.first_step(1) == 0);
        CHECK(calendar.first_step(rounds) < last);
        CHECK(calendar.first_step(rounds + 1) == last);
        CHECK(calendar.steps(rounds + 1) == 0);
        for (std::uint64_t round = 1; round < rounds; ++round) {
          CHECK(calendar.steps(round) >= inner / fragments);
          CHECK(calendar.steps(round) <= calendar.steps_max());
          // A fragment's turns lie inner_steps apart.
          const auto turn = static_cast<std::uint64_t>(fragments);
          if (round + turn <= rounds) {
            CHECK(calendar.first_step(round + turn) == calendar.first_step(round) + inner);
          }
          const int first = static_cast<int>((round - 1) % turn);
          CHECK(calendar.fragments(round) == FragmentRange{first, first + 1});
        }
        CHECK(calendar.fragments(rounds) == FragmentRange{0, fragments});
      }
    }
  }
}

TEST_CASE("any step's round ends where the next one begins") {
  const auto never = std::numeric_limits<std::int64_t>::max();
  const RoundCalendar calendar({.inner_steps = 10, .fragments = 4}, never);
  std::uint64_t round = 1;
  for (std::int64_t step = 1; step <= 40; ++step) {
    if (step > calendar.first_step(round + 1)) ++round;
    CHECK(calendar.end_of_round(step) == calendar.first_step(round + 1));
  }
  CHECK(round == 16);
}

TEST_CASE("a job without an end has rounds enough") {
  const auto never = std::numeric_limits<std::int64_t>::max();
  const RoundCalendar calendar({.inner_steps = 100, .fragments = 4}, never);
  CHECK(calendar.rounds() > 1'000'000'000);
  CHECK(calendar.first_step(41) == 1000);
}
