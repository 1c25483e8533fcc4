// A coordinator, message by message: what the simulator's chances do not pin down.
#include <algorithm>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "collectives/wide/protocol/slices.hpp"
#include "collectives/wide/protocol/wire.hpp"
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
  talk.pass(3'000);
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
  talk.holds(2);     // back to the last commit, but is it what it says?
  talk.pass(1'000);  // rejoin_ms
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

TEST_CASE(
    "a member that claims more tokens than there can be is left out: weights would not add up") {
  for (const std::uint64_t tokens : {std::uint64_t{1} << 48, (std::uint64_t{1} << 48) + 1}) {
    CAPTURE(tokens);
    Talk talk = with_late_newcomer();
    talk.holds(2);
    REQUIRE(talk.coordinator.state().member("b") != nullptr);
    const State& state = talk.coordinator.state();
    talk.say(2, Ready{{state.epoch, state.round(), state.attempts + 1}, tokens, 1, 22, {}, 0});
    const bool stays = tokens == std::uint64_t{1} << 48;
    CHECK((talk.coordinator.state().member("b") != nullptr) == stays);
  }
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
  talk.say(
      3,
      Hello{1, 0, {"a", 1}, Talk::offer(), state.committed_info(), {}, state.member("a")->since});
  REQUIRE(talk.heard<Start>(3));
  CHECK(talk.heard<Start>(3)->participants[1].slice_begin == share_parts / 4 * 3);
}

TEST_CASE("strangers are refused") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.say(2, Hello{2, 0, {"b", 1}, Talk::offer(), {}, {}, 0});
  REQUIRE(talk.heard<Refused>(2));
  CHECK(talk.heard<Refused>(2)->reason.find("--codec") != std::string::npos);
  CHECK(talk.heard<Refused>(2)->reason.find("differ") != std::string::npos);
  talk.say(3, Hello{1, 0, {"b", 1}, Talk::offer(), {{9, 9, 1}, 5, {}}, {}, 0});
  REQUIRE(talk.heard<Refused>(3));
  CHECK(talk.heard<Refused>(3)->reason.find("journal") != std::string::npos);
  talk.say(4, Hello{1, 0, {"", 1}, Talk::offer(), {}, {}, 0});
  CHECK(talk.heard<Refused>(4));
  talk.say(
      5,
      Hello{1, 0, {"a", 0}, Talk::offer(), {}, {}, 0});  // an older process of a connected cluster
  CHECK(talk.heard<Refused>(5));
  CHECK(talk.coordinator.state().members.size() == 1);
}

TEST_CASE("a job begins with as many clusters of one job as asked for") {
  Talk talk;
  CoordinatorConfig config = Talk::config();
  config.clusters_min = 2;
  talk.coordinator = Coordinator(config, {}, 0);
  const auto hello = [&](SessionId session, std::uint64_t job, const char* name) {
    talk.say(session, Hello{job, 0, {name, 1}, Talk::offer(), {}, {}, 0});
  };
  hello(1, 7, "c");
  hello(2, 8, "a");
  // One of the two has to go, and the other is not alone a job of two.
  REQUIRE(talk.heard<Refused>(1).has_value() != talk.heard<Refused>(2).has_value());
  CHECK_FALSE(talk.coordinator.state().committed);
  const SessionId left = talk.heard<Refused>(1) ? 2 : 1;
  hello(3, left == 1 ? 7 : 8, "b");
  CHECK_FALSE(talk.heard<Refused>(3));
  REQUIRE(talk.coordinator.state().committed);
  CHECK(talk.coordinator.state().job == (left == 1 ? 7 : 8));
  // From then on at once.
  hello(4, left == 1 ? 8 : 7, "d");
  CHECK(talk.heard<Refused>(4));
}

TEST_CASE("of clusters that differ the most stay") {
  Talk talk;
  CoordinatorConfig config = Talk::config();
  config.clusters_min = 3;
  talk.coordinator = Coordinator(config, {}, 0);
  for (const SessionId id : {1, 2, 3}) {
    talk.say(
        id, Hello{id == 1 ? 5u : 6u, 0, {std::string(1, "xabc"[id]), 1}, Talk::offer(), {}, {}, 0});
  }
  CHECK(talk.heard<Refused>(1));
  CHECK_FALSE(talk.heard<Refused>(2));
  CHECK_FALSE(talk.heard<Refused>(3));
  CHECK_FALSE(talk.coordinator.state().committed);
}

TEST_CASE("a coordinator that was held up takes nobody for lost") {
  CoordinatorConfig config;
  config.clusters_min = 2;
  Coordinator coordinator(config, {}, 0);
  TimeMs now_ms = 0;
  const auto lost = [](const CoordinatorActions& actions) {
    return std::any_of(actions.begin(), actions.end(), [](const CoordinatorAction& action) {
      const auto* log = std::get_if<Log>(&action);
      return log != nullptr && log->text.find("lost") != std::string::npos;
    });
  };
  const auto say = [&](SessionId session, const Message& message) {
    CHECK_FALSE(lost(coordinator.receive(session, message, now_ms)));
  };
  for (const SessionId id : {1, 2}) {
    say(id, Hello{1, 0, {id == 1 ? "a" : "b", 1}, Talk::offer(), {}, {}, 0});
    say(id, Links{{{id == 1 ? "b" : "a", 1}}});
  }
  REQUIRE(coordinator.state().members.size() == 2);
  bool slow_disk = false;
  SUBCASE("by a signal, or by its machine") {}
  SUBCASE("by a disk that takes long for each record, while heartbeats wait") {
    slow_disk = true;
  }
  for (int stall = 0; stall < 3; ++stall) {
    for (int i = 0; i < 10; ++i) {
      now_ms += 500;
      for (const SessionId id : {1, 2}) say(id, Heartbeat{});
    }
    if (!slow_disk) {
      now_ms += 3'000 + stall * 10'000;
      for (const SessionId id : {1, 2, 1, 2}) say(id, Heartbeat{});
      continue;
    }
    for (int record = 0; record < 5; ++record) {
      now_ms += 900;
      coordinator.heard(2, now_ms);
      say(1, Heartbeat{});
    }
    say(2, Heartbeat{});
  }
  CHECK(coordinator.state().members.size() == 2);
  // Nor does it forget what silence is.
  bool noticed = false;
  for (int i = 0; i < 30 && !noticed; ++i) {
    now_ms += 500;
    noticed = lost(coordinator.receive(1, Heartbeat{}, now_ms));
  }
  CHECK(noticed);
  CHECK(coordinator.state().members.size() == 1);
}

TEST_CASE("of two processes of one name the one that started later stays") {
  Talk talk;
  talk.join(1, "a", "b");
  const auto hello = [&](SessionId session, std::uint64_t incarnation) {
    talk.heard_refusal = false;
    talk.say(session, Hello{1, 0, {"a", incarnation}, Talk::offer(), {}, {}, 0});
    return !talk.heard_refusal;
  };
  SUBCASE("that is connected") {
    CHECK(hello(2, 5));
    CHECK(talk.heard<Refused>(1));  // and the other one hears why
    CHECK_FALSE(hello(3, 1));
    CHECK(talk.coordinator.state().member("a") != nullptr);
    CHECK(talk.coordinator.state().member("a")->self.incarnation == 5);
  }
  SUBCASE("whose link the older one has just taken") {
    CHECK(hello(2, 5));
    talk.last = talk.coordinator.disconnected(2, talk.now_ms);
    CHECK_FALSE(hello(3, 1));
    REQUIRE(talk.heard<Refused>(3));
    CHECK(talk.heard<Refused>(3)->reason.find("started later") != std::string::npos);
    CHECK(hello(4, 5));
  }
  SUBCASE("and never was in the epoch") {
    talk.say(2, Hello{1, 0, {"c", 7}, Talk::offer(), {}, {}, 0});
    talk.last = talk.coordinator.disconnected(2, talk.now_ms);
    talk.say(3, Hello{1, 0, {"c", 6}, Talk::offer(), {}, {}, 0});
    CHECK(talk.heard<Refused>(3));
    talk.pass(60'000);  // it is gone: the cluster was started again, by a clock that is behind
    talk.say(4, Hello{1, 0, {"c", 6}, Talk::offer(), {}, {}, 0});
    CHECK_FALSE(talk.heard<Refused>(4));
  }
  SUBCASE("though the coordinator knows of it by its journal alone") {
    CHECK(hello(2, 5));
    Talk again(talk.coordinator.state());
    again.last = again.coordinator.tick(0);
    again.say(1, Hello{1, 0, {"a", 1}, Talk::offer(), {}, {}, 0});
    CHECK(again.heard<Refused>(1));
  }
}

TEST_CASE("a notice to leave can become shorter, and not longer") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.join(2, "b", "a");
  talk.say(2, Leave{100'000});
  talk.pass(1'000);
  CHECK_FALSE(talk.heard<Released>(2));  // it may finish its round
  SUBCASE("shorter") {
    talk.say(2, Leave{4'000});
    CHECK(talk.heard<Released>(2));
  }
  SUBCASE("longer") {
    talk.say(2, Leave{10'000'000});
    talk.pass(100'000);
    CHECK(talk.heard<Released>(2));
  }
}

TEST_CASE("what one cluster offers cannot cut the others off") {
  Talk talk;
  talk.join(1, "a", "b");
  const auto refused = [&](SessionId session, std::size_t addresses) {
    const Offer offer{std::vector<std::string>(addresses, std::string(500, 'x')), 1};
    talk.say(session, Hello{1, 0, {fmt::format("c{}", session), 1}, offer, {}, {}, 0});
    for (const CoordinatorAction& action : talk.last) {
      if (const auto* send = std::get_if<SendTo>(&action)) CHECK_NOTHROW(encode(send->message));
    }
    return talk.heard<Refused>(session).has_value();
  };
  CHECK(refused(2, 2'000));
  CHECK_FALSE(refused(3, 30));
  SessionId last = 4;  // honest ones, until the frame is full
  while (last < 200 && !refused(last, 30)) ++last;
  CHECK(last > 30);
  CHECK(last < 40);
  CHECK_FALSE(refused(last - 1, 30));  // who is in stays in
  CHECK(talk.coordinator.state().member("a") != nullptr);
}
