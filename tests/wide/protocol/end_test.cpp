// A job that is over, and clusters that come to it after that.
#include <algorithm>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/member.hpp"
#include "tests/wide/protocol/talk.hpp"

using namespace train::wide;

namespace {

constexpr TimeMs late_ms = 30'000;

/// "a" alone has brought a job of one round to its end.
Talk finished_job() {
  Talk talk;
  talk.rounds_total = 1;
  talk.join(1, "a", "b");
  talk.ready(1);
  talk.done(1, 11);
  REQUIRE(talk.heard<Commit>(1));
  CHECK(talk.heard<Commit>(1)->finished);
  talk.holds(1);
  REQUIRE(talk.coordinator.finished());
  return talk;
}

/// The same journal, another process.
Talk restarted(const Talk& before) {
  Talk talk(before.coordinator.state());
  talk.rounds_total = before.rounds_total;
  talk.last = talk.coordinator.tick(0);
  return talk;
}

}  // namespace

TEST_CASE("who comes late gets the last state and is told that it is the last") {
  for (const bool restart : {false, true}) {
    CAPTURE(restart);
    Talk talk = finished_job();
    if (restart) {
      talk = restarted(talk);
      talk.join(1, "a", "b", talk.coordinator.state().committed_info());
      CHECK(talk.heard_commit_of_the_end(1));
    }
    talk.join(2, "b", "a");
    REQUIRE(talk.heard<Fetch>(2));
    CHECK(talk.heard<Fetch>(2)->source.name == "a");
    talk.holds(2);
    CHECK(talk.heard_commit_of_the_end(2));
    CHECK_FALSE(talk.heard<Released>(2));
    CHECK(talk.coordinator.state().round() == 2);  // and nobody trains any more
    CHECK(talk.coordinator.state().member("b") == nullptr);
  }
}

TEST_CASE("who comes when nobody has the last state any more is let go") {
  Talk talk = restarted(finished_job());
  talk.join(2, "b", "a");
  CHECK_FALSE(talk.heard<Released>(2));  // a may come back yet
  talk.pass(15'000);                     // but it does not
  talk.pass(2'000);
  REQUIRE(talk.heard<Released>(2));
  CHECK(talk.heard<Released>(2)->finished);
  // Nor does the job go back to what b has, however long it waits.
  talk.join(3, "c", "b");
  talk.pass(2'000);
  CHECK(talk.heard<Released>(3));
  talk.pass(1'000'000);
  CHECK(talk.coordinator.finished());
}

TEST_CASE("nor does it wait for ever for a source that it cannot reach") {
  Talk talk = finished_job();
  talk.join(2, "b", "c");
  CHECK_FALSE(talk.heard<Fetch>(2));
  talk.pass(late_ms - 1);
  CHECK_FALSE(talk.heard<Released>(2));
  talk.pass(1);
  REQUIRE(talk.heard<Released>(2));
  CHECK(talk.heard<Released>(2)->finished);
}

TEST_CASE("a fetch that is under way is waited for") {
  Talk talk = finished_job();
  talk.join(2, "b", "a");
  REQUIRE(talk.heard<Fetch>(2));
  talk.pass(late_ms + 1);
  CHECK_FALSE(talk.heard<Released>(2));
  talk.holds(2);
  CHECK(talk.heard_commit_of_the_end(2));
}

TEST_CASE("who applied the last commit wrongly fetches before it hears of the end") {
  Talk talk;
  talk.rounds_total = 2;
  talk.join(1, "a", "b");
  talk.ready(1);
  talk.done(1, 11);
  talk.holds(1);
  talk.join(2, "b", "a");
  talk.holds(2);
  for (const SessionId id : {1, 2}) talk.ready(id);
  for (const SessionId id : {1, 2}) talk.done(id, 22);
  CHECK(talk.heard_commit_of_the_end(2));
  talk.holds(1);
  StateInfo wrong = talk.coordinator.state().committed_info();
  wrong.hash = 23;
  talk.say(2, Holds{wrong});
  talk.say(2, Holds{wrong});  // after it has discarded its work, for what that is worth
  REQUIRE(talk.heard<Fetch>(2));
  CHECK_FALSE(talk.heard_commit_of_the_end(2));
  talk.holds(2);
  CHECK(talk.heard_commit_of_the_end(2));
}

TEST_CASE("a member says that the job is over when it holds what was agreed on") {
  Member member = member_that_applies(/*the_last=*/true);
  const auto finishes = [](const MemberActions& actions) {
    return std::any_of(actions.begin(), actions.end(), [](const MemberAction& action) {
      return std::holds_alternative<JobFinished>(action);
    });
  };
  SUBCASE("at once") {
    CHECK(finishes(member.applied(7)));
  }
  SUBCASE("after it got it anew") {
    CHECK_FALSE(finishes(member.applied(8)));
    member.receive(Directory{{2, 1, 1}, {}}, 1);
    member.receive(Fetch{{{1, 1, 1}, 7, {}}, {"a", 1}}, 1);
    CHECK_FALSE(finishes(member.fetched({1, 1, 1}, 7)));
    CHECK(finishes(member.receive(Commit{{{1, 1, 1}, 7, {}}, true}, 1)));
  }
}

TEST_CASE("another count of rounds is another job") {
  Talk talk;
  talk.rounds_total = 7;
  talk.join(1, "a", "b");
  CHECK(talk.coordinator.state().rounds_total == 7);
  talk.rounds_total = 8;
  talk.join(2, "b", "a");
  CHECK(talk.heard_refusal);
}

TEST_CASE("a member that is too late stops, without a failure") {
  MemberConfig config;
  config.self = {"b", 1};
  Member member(config, {});
  member.connected(0);
  const MemberActions actions = member.receive(Released{false, true}, 1);
  REQUIRE(actions.size() == 1);
  const auto& stop = std::get<Stop>(actions.front());
  CHECK_FALSE(stop.refused);
  CHECK(stop.finished);
  CHECK(stop.reason.find("over") != std::string::npos);
}
