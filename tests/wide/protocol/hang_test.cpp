// Members that beat, and do nothing else.
#include <doctest/doctest.h>

#include "tests/wide/protocol/talk.hpp"

using namespace train::wide;

namespace {

const CoordinatorConfig config = Talk::config();

/// "a" and "b" are members, in round 1.
struct Two {
  Two() {
    talk.join(1, "a", "b");
    talk.join(2, "b", "a");
    REQUIRE(talk.coordinator.state().members.size() == 2);
  }
  bool is_in(const char* name) const { return talk.coordinator.state().member(name) != nullptr; }

  Talk talk;
};

}  // namespace

TEST_CASE("who does not end its round while others wait is told to, then left out") {
  Two job;
  Talk& talk = job.talk;
  talk.pass(1'000);
  talk.ready(1);
  talk.pass(config.laggard_ms - 1);
  CHECK_FALSE(talk.heard<Finish>(2));
  talk.pass(1);
  REQUIRE(talk.heard<Finish>(2));
  SUBCASE("it was slow") {
    talk.ready(2);
    CHECK(talk.heard<Start>(2));
  }
  SUBCASE("it hangs") {
    talk.pass(config.straggler_ms);
    CHECK_FALSE(job.is_in("b"));
    REQUIRE(talk.heard<Start>(1));
    talk.done(1, 11);
    CHECK(talk.heard<Commit>(1));
    talk.holds(1);
    // What its client says by itself brings it back as late as the others had waited.
    talk.holds(2);
    talk.pass(config.laggard_ms);
    CHECK_FALSE(job.is_in("b"));
    talk.pass(config.straggler_ms);
    CHECK(job.is_in("b"));
  }
}

TEST_CASE("a cluster may be several times as slow as others") {
  Two job;
  const TimeMs round_ms = config.laggard_ms;
  job.talk.pass(round_ms);
  job.talk.ready(1);
  job.talk.pass(3 * round_ms - 1);
  CHECK_FALSE(job.talk.heard<Finish>(2));
  job.talk.pass(1);
  CHECK(job.talk.heard<Finish>(2));
}

TEST_CASE("who does not finish an exchange that others have finished is left out") {
  Two job;
  for (const SessionId id : {1, 2}) job.talk.ready(id);
  REQUIRE(job.talk.heard<Start>(2));
  job.talk.pass(10'000);
  job.talk.done(1, 11);
  job.talk.pass(config.laggard_ms - 1);
  CHECK(job.is_in("b"));
  job.talk.pass(1);
  CHECK_FALSE(job.is_in("b"));
  job.talk.ready(1);
  REQUIRE(job.talk.heard<Start>(1));
  CHECK(job.talk.heard<Start>(1)->participants.size() == 1);
}

TEST_CASE("an exchange that nobody finishes is tried again") {
  Two job;
  for (const SessionId id : {1, 2}) job.talk.ready(id);
  REQUIRE(job.talk.heard<Start>(2));
  job.talk.pass(config.exchange_ms - 1);
  CHECK_FALSE(job.talk.heard<Abort>(1));
  job.talk.pass(1);
  for (const SessionId id : {1, 2}) CHECK(job.talk.heard<Abort>(id));
  for (const SessionId id : {1, 2}) job.talk.ready(id);
  REQUIRE(job.talk.heard<Start>(2));
  CHECK(job.talk.heard<Start>(2)->id.attempt == 2);
  // Perhaps it only takes so long.
  job.talk.pass(2 * config.exchange_ms - 1);
  CHECK_FALSE(job.talk.heard<Abort>(1));
  for (const SessionId id : {1, 2}) job.talk.done(id, 11);
  CHECK(job.talk.heard<Commit>(2));
}

TEST_CASE("a round that is to end early does where the commit before it is applied late") {
  const auto finishes = [](const MemberActions& actions) {
    const auto begins = std::ranges::find_if(actions, [](const MemberAction& action) {
      return std::holds_alternative<BeginRound>(action);
    });
    return std::any_of(begins, actions.end(), [](const MemberAction& action) {
      const auto* finish = std::get_if<FinishRound>(&action);
      return finish != nullptr && finish->round == 2;
    });
  };
  Member member = member_that_applies(/*the_last=*/false);
  SUBCASE("told so meanwhile") {
    CHECK(member.receive(Finish{1, 2}, 1).empty());
    CHECK(finishes(member.applied(7)));
  }
  SUBCASE("told of another round") {
    CHECK(member.receive(Finish{1, 1}, 1).empty());
    CHECK_FALSE(finishes(member.applied(7)));
  }
  SUBCASE("out of the epoch since") {
    member.receive(Finish{1, 2}, 1);
    member.receive(Directory{{2, 2, 1}, {}}, 1);
    CHECK_FALSE(finishes(member.applied(7)));
  }
}
