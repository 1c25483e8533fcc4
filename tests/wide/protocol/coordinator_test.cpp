// A coordinator, message by message: what the simulator's chances do not pin down.
#include <doctest/doctest.h>

#include "collectives/wide/protocol/slices.hpp"
#include "tests/wide/protocol/talk.hpp"

using namespace train::wide;

namespace {

/// "a" has committed round 1 while "b", which began with nothing, was fetching the state before.
Talk with_late_newcomer() {
  Talk talk;
  talk.join(1, "a", "b");
  talk.ready(1);
  talk.done(1, 11);
  talk.holds(1);
  talk.join(2, "b", "a");
  REQUIRE(talk.heard<Fetch>(2));
  talk.ready(1);
  REQUIRE(talk.heard<Start>(1));  // the first fetch delays nobody
  talk.done(1, 22);
  talk.holds(1);
  REQUIRE(talk.heard<Fetch>(2));
  CHECK(talk.heard<Fetch>(2)->state.hash == 22);
  talk.ready(1);
  CHECK_FALSE(talk.heard<Start>(1));  // the second one does
  return talk;
}

}  // namespace

TEST_CASE("a commit is on the disk before anyone hears of it") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.ready(1);
  talk.done(1, 11);
  REQUIRE(talk.heard<Commit>(1));
  bool written = false;
  for (const CoordinatorAction& action : talk.last) {
    written = written || std::holds_alternative<Append>(action);
    if (const auto* send = std::get_if<SendTo>(&action)) {
      if (std::holds_alternative<Commit>(send->message)) CHECK(written);
    }
  }
}

TEST_CASE("an exchange waits for a newcomer whose fetch came too late") {
  Talk talk = with_late_newcomer();
  talk.holds(2);
  CHECK(talk.coordinator.state().members.size() == 2);
  talk.ready(2);
  REQUIRE(talk.heard<Start>(1));
  CHECK(talk.heard<Start>(1)->participants.size() == 2);
  talk.done(1, 33);
  CHECK_FALSE(talk.heard<Commit>(1));
  talk.done(2, 33);
  CHECK(talk.heard<Commit>(1));
  CHECK(talk.heard<Commit>(2));
}

TEST_CASE("but not for ever") {
  Talk talk = with_late_newcomer();
  talk.now_ms += 3'000;
  talk.last = talk.coordinator.tick(talk.now_ms);
  REQUIRE(talk.heard<Start>(1));
  CHECK(talk.heard<Start>(1)->participants.size() == 1);
}

TEST_CASE("results that differ are not committed") {
  Talk talk = with_late_newcomer();
  talk.holds(2);
  talk.ready(2);
  talk.done(1, 33);
  talk.done(2, 34);
  CHECK_FALSE(talk.heard<Commit>(1));
  CHECK(talk.coordinator.state().members.size() == 1);
  CHECK(talk.coordinator.state().member("b") == nullptr);
  talk.holds(2);  // back to the last commit, but is it what it says?
  REQUIRE(talk.heard<Fetch>(2));
  CHECK(talk.coordinator.state().member("b") == nullptr);
}

TEST_CASE(
    "a member that leaves its samples in pieces is left out before the ledger is full of them") {
  Talk talk = with_late_newcomer();
  talk.holds(2);
  REQUIRE(talk.coordinator.state().member("b") != nullptr);
  talk.say(2, LeaseRequest{talk.coordinator.state().epoch, 4'096});
  const Range lease = talk.heard<Lease>(2)->ranges.ranges().front();
  RangeSet used;
  for (std::uint64_t i = 0; i < 1'024; ++i)
    used.add({lease.begin + 2 * i, lease.begin + 2 * i + 1});
  const State& state = talk.coordinator.state();
  talk.say(2, Ready{{state.epoch, state.round(), state.attempts + 1}, 5, 1, 22, used, 0});
  CHECK(talk.coordinator.state().member("b") != nullptr);  // 1024 pieces are left
  used.remove({lease.begin, lease.begin + 1});
  used.add({lease.begin + 2'048, lease.begin + 2'049});
  talk.say(2, Ready{{state.epoch, state.round(), state.attempts + 1}, 5, 1, 22, used, 0});
  CHECK(talk.coordinator.state().member("b") == nullptr);
}

TEST_CASE("an exchange is shared out by bandwidth, and told again as it was told first") {
  Talk talk = with_late_newcomer();
  talk.holds(2);
  REQUIRE(talk.coordinator.state().member("b") != nullptr);
  talk.ready(1, 300);
  talk.ready(2, 100);
  const auto start = talk.heard<Start>(1);
  REQUIRE(start);
  REQUIRE(start->participants.size() == 2);
  CHECK(start->participants[0].slice_begin == 0);
  CHECK(start->participants[1].slice_begin == share_parts / 4 * 3);
  // The other's connection is gone when the first one's comes back.
  talk.last = talk.coordinator.disconnected(2, talk.now_ms);
  const State& state = talk.coordinator.state();
  talk.say(3, Hello{1, 0, {"a", 1}, {}, state.committed_info(), {}, state.member("a")->since});
  REQUIRE(talk.heard<Start>(3));
  CHECK(talk.heard<Start>(3)->participants[1].slice_begin == share_parts / 4 * 3);
}

TEST_CASE("strangers are refused") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.say(2, Hello{2, 0, {"b", 1}, {}, {}, {}, 0});
  REQUIRE(talk.heard<Refused>(2));
  CHECK(talk.heard<Refused>(2)->reason.find("differ") != std::string::npos);
  talk.say(3, Hello{1, 0, {"b", 1}, {}, {{9, 9, 1}, 5, {}}, {}, 0});
  REQUIRE(talk.heard<Refused>(3));
  CHECK(talk.heard<Refused>(3)->reason.find("journal") != std::string::npos);
  talk.say(4, Hello{1, 0, {"", 1}, {}, {}, {}, 0});
  CHECK(talk.heard<Refused>(4));
  talk.say(5, Hello{1, 0, {"a", 0}, {}, {}, {}, 0});  // an older process of a connected cluster
  CHECK(talk.heard<Refused>(5));
  CHECK(talk.coordinator.state().members.size() == 1);
}
