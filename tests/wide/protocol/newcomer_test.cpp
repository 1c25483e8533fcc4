// When newcomers fetch the state, and who waits for them.
#include <algorithm>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/journal.hpp"
#include "collectives/wide/protocol/member.hpp"
#include "tests/wide/protocol/talk.hpp"

using namespace train::wide;

namespace {

constexpr TimeMs hold_ms = 3'000;  // Talk::config()

/// A job of "a" alone, and "b", which has the seed's state.
struct Newcomer {
  Newcomer() {
    talk.join(1, "a", "b");
    commit_round();
    talk.join(2, "b", "a");
    REQUIRE(talk.heard<Fetch>(2));
  }
  /// "a" alone ends its round; false: its exchange does not start.
  bool commit_round() {
    talk.ready(1);
    return conclude();
  }
  bool conclude() {
    if (!talk.heard<Start>(1)) return false;
    talk.done(1, ++hash);
    talk.holds(1);
    return true;
  }
  bool entered() const { return talk.coordinator.state().member("b") != nullptr; }

  Talk talk;
  std::uint64_t hash = 10;
};

/// "a" and "b" are members; "c" has a link to "a" alone.
Talk with_half_linked() {
  Talk talk;
  talk.join(1, "a", "b");
  talk.say(2, Hello{1, 0, {"b", 1}, Talk::offer(), {}, {}, 0});
  talk.say(2, Links{{{"a", 1}}});
  REQUIRE(talk.coordinator.state().members.size() == 2);
  for (const SessionId id : {1, 2}) talk.ready(id);
  for (const SessionId id : {1, 2}) talk.done(id, 11);
  for (const SessionId id : {1, 2}) talk.holds(id);
  talk.say(1, Links{{{"b", 1}, {"c", 1}}});
  talk.join(3, "c", "a");
  return talk;
}

}  // namespace

TEST_CASE("exchanges wait for a fetch that takes longer than a round and the first wait") {
  Newcomer job;
  REQUIRE(job.commit_round());  // the first fetch delays nobody
  job.talk.pass(100'000);       // however long the round is, the wait begins when it has ended
  CHECK_FALSE(job.commit_round());
  job.talk.pass(hold_ms - 1);
  CHECK_FALSE(job.talk.heard<Start>(1));
  job.talk.pass(1);
  REQUIRE(job.conclude());
  CHECK_FALSE(job.commit_round());
  job.talk.pass(2 * hold_ms - 1);  // now twice as long
  CHECK_FALSE(job.talk.heard<Start>(1));
  job.talk.holds(2);
  CHECK(job.entered());
}

TEST_CASE("a fetch that ended during an exchange came too late, too") {
  Newcomer job;
  job.talk.ready(1);
  REQUIRE(job.talk.heard<Start>(1));
  job.talk.holds(2);  // of the state before
  CHECK_FALSE(job.entered());
  job.talk.done(1, 22);
  job.talk.holds(1);
  job.talk.ready(1);
  CHECK_FALSE(job.talk.heard<Start>(1));
  job.talk.holds(2);
  CHECK(job.entered());
}

TEST_CASE("a newcomer that is always too slow rests, and does not hold up the job") {
  Newcomer job;
  int fetches = 0;
  for (int round = 0; round < 20; ++round) {
    fetches += job.talk.heard<Fetch>(2) ? 1 : 0;
    if (!job.commit_round()) {
      job.talk.pass(8 * hold_ms);
      REQUIRE(job.conclude());
    }
  }
  CHECK(fetches == 5);
  CHECK_FALSE(job.entered());
  job.talk.pass(1'800'000);
  CHECK(job.talk.heard<Fetch>(2));
}

TEST_CASE("who has no link to a member does not fetch until it has") {
  Talk talk = with_half_linked();
  CHECK_FALSE(talk.heard<Fetch>(3));
  talk.pass(60'000);
  CHECK_FALSE(talk.heard<Fetch>(3));
  SUBCASE("it gets the link") {
    talk.say(2, Links{{{"a", 1}, {"c", 1}}});
    talk.say(3, Links{{{"a", 1}, {"b", 1}}});
    CHECK(talk.heard<Fetch>(3));
  }
  SUBCASE("that member leaves") {
    talk.say(2, Leave{100'000});
    CHECK(talk.heard<Fetch>(3));
  }
}

TEST_CASE("who was left out does not fetch before it may enter again") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.join(2, "b", "a");
  REQUIRE(talk.coordinator.state().members.size() == 2);
  for (const SessionId id : {1, 2}) talk.ready(id);
  talk.done(1, 11);
  talk.done(2, 12);
  REQUIRE(talk.coordinator.state().members.size() == 1);
  talk.holds(2);
  CHECK_FALSE(talk.heard<Fetch>(2));
  talk.pass(1'000);  // rejoin_ms
  CHECK(talk.heard<Fetch>(2));
}

TEST_CASE("a member that is told to fetch while it applies a commit fetches after that") {
  Member member = member_that_applies(/*the_last=*/false);
  member.receive(Directory{{2, 2, 1}, {}}, 1);  // the others have gone on
  const auto fetches = [](const MemberActions& actions) {
    return std::count_if(actions.begin(), actions.end(), [](const MemberAction& action) {
      return std::holds_alternative<FetchState>(action);
    });
  };
  CHECK(fetches(member.receive(Fetch{{{2, 2, 1}, 8, {}}, {"a", 1}}, 1)) == 0);
  CHECK(fetches(member.applied(7)) == 1);
  CHECK_FALSE(member.fetched({2, 2, 1}, 8).empty());
  CHECK(member.committed().hash == 8);
}

TEST_CASE("what is said of clusters with the longest names fits the wire") {
  constexpr SessionId members = 6;
  const auto name_of = [](SessionId id) { return std::string(62, 'n') + std::to_string(id); };
  Links links;
  for (SessionId id = 1; id <= members; ++id) links.up.push_back({name_of(id), 1});
  Talk talk;
  for (SessionId id = 1; id <= members; ++id) {
    talk.say(id, Hello{1, 0, {name_of(id), 1}, Talk::offer(), {}, {}, 0});
    talk.say(id, links);
  }
  REQUIRE(talk.coordinator.state().members.size() == members);
  talk.say(7, Hello{1, 0, {name_of(7), 1}, Talk::offer(), {}, {}, 0});
  links.up.push_back({name_of(7), 1});
  for (SessionId id = 5; id <= members; ++id) talk.say(id, links);  // the longest words come last
  talk.pass(15'000);
  REQUIRE(talk.heard<Notice>(7));
  CHECK(talk.heard<Notice>(7)->text.size() <= text_bytes_max);
  CHECK(talk.heard<Notice>(7)->text.find("and others") != std::string::npos);
}

TEST_CASE("who is kept out by a missing link is told which") {
  Talk talk = with_half_linked();
  talk.pass(14'999);
  CHECK_FALSE(talk.heard<Notice>(3));
  talk.pass(1);
  REQUIRE(talk.heard<Notice>(3));
  CHECK(talk.heard<Notice>(3)->text.find("link to b:") != std::string::npos);
  talk.pass(60'000);
  CHECK_FALSE(talk.heard<Notice>(3));  // once
  talk.say(2, Links{{{"a", 1}, {"c", 1}}});
  REQUIRE(talk.heard<Notice>(3));
  CHECK(talk.heard<Notice>(3)->text.find("to b (the other end sees one") != std::string::npos);

  MemberConfig config;
  Member member(config, {});
  const MemberActions actions = member.receive(*talk.heard<Notice>(3), 1);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<Log>(actions.front()).text.find("to b") != std::string::npos);
}

TEST_CASE("who comes back with a state that the job has gone back from fetches") {
  const StateInfo lost{{1, 5, 1}, 55, {}}, left{{1, 4, 1}, 44, {}};
  State state;
  state.job = 1;
  state.committed = lost;
  state.epoch = 1;
  state.members = {{{"a", 1}, 1, 1}};
  Talk talk(state);
  talk.pass(20'000);  // "a" does not come back
  talk.join(2, "b", "a", left);
  talk.pass(600'000);  // rollback_grace_ms
  REQUIRE(talk.coordinator.state().committed->id == left.id);
  SUBCASE("at once") {}
  SUBCASE("after a restart from a compacted journal") {
    const Replay compacted = replay(journal_frame(talk.coordinator.state()));
    REQUIRE(compacted.error == "");
    talk.coordinator = Coordinator(Talk::config(), compacted.state, talk.now_ms);
    talk.say(2, Hello{1, 0, {"b", 1}, Talk::offer(), left, {}, 2});
  }
  talk.say(2, Links{{{"a", 1}}});
  talk.join(3, "a", "b", lost);
  CHECK_FALSE(talk.heard<Refused>(3));
  REQUIRE(talk.heard<Fetch>(3));
  CHECK(talk.heard<Fetch>(3)->state.id == left.id);
  talk.holds(3);
  CHECK(talk.coordinator.state().member("a") != nullptr);
  // One that nobody knows is refused as ever.
  talk.say(4, Hello{1, 0, {"c", 1}, Talk::offer(), {{2, 5, 1}, 66, {}}, {}, 0});
  CHECK(talk.heard<Refused>(4));
}

TEST_CASE("a member that says that it has another state is none") {
  Talk talk;
  talk.join(1, "a", "b");
  talk.join(2, "b", "a");
  REQUIRE(talk.coordinator.state().members.size() == 2);
  talk.say(2, Holds{{{1, 8, 1}, 88, {}}});
  CHECK(talk.coordinator.state().member("b") == nullptr);
}

TEST_CASE("of two clusters that nobody can dial the second is refused") {
  const Offer outbound_only{{}, 1};
  Talk talk;
  talk.say(1, Hello{1, 0, {"a", 1}, outbound_only, {}, {}, 0});
  talk.say(1, Links{{{"b", 1}}});
  talk.join(2, "b", "a");
  REQUIRE(talk.coordinator.state().members.size() == 2);
  talk.say(3, Hello{1, 0, {"c", 1}, outbound_only, {}, {}, 0});
  REQUIRE(talk.heard<Refused>(3));
  CHECK(talk.heard<Refused>(3)->reason.find("nor cluster a") != std::string::npos);
  // A member that comes back is not.
  talk.say(4, Hello{1, 0, {"a", 1}, outbound_only, {}, {}, 1});
  CHECK_FALSE(talk.heard<Refused>(4));
  talk.say(5, Hello{1, 0, {"a", 2}, outbound_only, {}, {}, 0});
  CHECK_FALSE(talk.heard<Refused>(5));
}
