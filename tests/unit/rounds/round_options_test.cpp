#include "libtrain/rounds/round_options.hpp"

#include <doctest/doctest.h>

#include "collectives/error.hpp"

using namespace train;

TEST_CASE("options of rounds that cannot be are refused with the flag's name") {
  const auto refused = [](RoundOptions options, const char* flag) {
    CHECK_THROWS_WITH_AS(static_cast<void>(options.checked()), doctest::Contains(flag), Error);
  };
  refused({.inner_steps = 0}, "--inner-steps is 0");
  refused({.outer = {.momentum = 1.0f}}, "--outer-momentum");
  refused({.inner_steps = 10, .overlap_steps = 10}, "--overlap-rounds is 10");
  refused({.inner_steps = 10, .overlap_steps = -1}, "--overlap-rounds is -1");
  refused({.synchronisation = Synchronisation::every_step, .overlap_steps = 1}, "--overlap-rounds");
  refused({.inner_steps = 10, .fragments = 4, .overlap_steps = 2}, "10 --inner-steps, 4 --frag");
  refused({.inner_steps = 10, .fragments = 11}, "--fragments is 11");
  refused({.inner_steps = 10, .fragments = 0}, "--fragments is 0");
  refused({.synchronisation = Synchronisation::every_step, .fragments = 2}, "--fragments needs");
  refused({.round_time = std::chrono::milliseconds(-1)}, "--round-seconds");
  CHECK_THROWS_WITH_AS(synchronisation_from("sometimes"), doctest::Contains("--sync sometimes"),
                       Error);
}

TEST_CASE("what a cluster cannot have is refused before it meets others") {
  const auto refused = [](JobOptions options, const char* flag) {
    CHECK_THROWS_WITH_AS(static_cast<void>(options.checked()), doctest::Contains(flag), Error);
  };
  refused({.cluster = "aws", .coordinator = {}, .streams = 65}, "--streams is 65");
  refused({.cluster = "aws", .coordinator = {}, .streams = 0}, "--streams is 0");
  refused({.cluster = "aws", .coordinator = {}, .leave_notice = std::chrono::seconds(-1)},
          "--leave-notice");
  refused({.cluster = "aws", .coordinator = {"host"}}, "--coordinator \"host\" is no address");
  refused({.cluster = "aws", .coordinator = {}, .listen = ":7701"}, "--listen \":7701\" is no");
  refused({.cluster = "aws", .coordinator = {}, .advertise = {"::1:7701"}}, "--advertise \"::1");
  refused({.cluster = "aws", .coordinator = {}, .advertise = {std::string(500, 'h') + ":1"}},
          "is too long");
  CHECK(JobOptions{.cluster = "aws", .coordinator = {}, .streams = 64}.checked().streams == 64);
}

TEST_CASE("a job's plan that cannot be is refused before it begins") {
  const auto refused = [](RoundPlan plan, const char* why) {
    CHECK_THROWS_WITH_AS(static_cast<void>(plan.checked()), doctest::Contains(why), Error);
  };
  refused({.steps = 0, .last_step = 0}, "0 steps");
  refused({.steps = 10, .last_step = 11}, "--stop-at is 11");
  refused({.steps = 10, .last_step = 0}, "--stop-at is 0");
  refused({.batch = 0}, "0 sequences in a batch");
  refused({.batch = -2}, "-2 sequences in a batch");
  refused({.context = 0}, "0 tokens in a sequence");
}

TEST_CASE("every step is a round of one") {
  const RoundOptions options{.synchronisation = synchronisation_from("every-step")};
  CHECK(options.checked().inner_steps == 1);
  CHECK(RoundOptions{.synchronisation = synchronisation_from("rounds"), .inner_steps = 7}
            .checked()
            .inner_steps == 7);
}
