// Members of a job are trusted, but may be broken: whatever well-formed messages they send, the
// coordinator stays up, its journal replays to its state, and no sample is lost from the ledger.
#include <doctest/doctest.h>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/journal.hpp"
#include "collectives/wide/protocol/member.hpp"
#include "collectives/wide/protocol/wire.hpp"
#include "tests/wide/protocol/random_messages.hpp"

using namespace train::wide;

TEST_CASE("a coordinator survives members that talk nonsense") {
  std::uint64_t commits = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    RandomMessages random(seed);
    CoordinatorConfig config;
    config.rollback_grace_ms = 3'000;
    config.link_grace_ms = 0;
    config.rejoin_ms = 0;
    config.samples_total = 60;
    config.compact_after_records = 1 + random.below(30);
    Coordinator coordinator(config, {}, 0);
    Bytes journal;
    ExchangeId running;
    TimeMs now_ms = 0;
    const auto carry_out = [&](const CoordinatorActions& actions) {
      for (const CoordinatorAction& action : actions) {
        if (const auto* append = std::get_if<Append>(&action)) {
          journal.insert(journal.end(), append->frame.begin(), append->frame.end());
        } else if (const auto* compact = std::get_if<Compact>(&action)) {
          journal = compact->journal;
        } else if (const auto* send = std::get_if<SendTo>(&action)) {
          CHECK(decode(encode(send->message)).message);
          if (const auto* start = std::get_if<Start>(&send->message)) running = start->id;
          commits += std::holds_alternative<Commit>(send->message) ? 1 : 0;
        }
      }
    };
    for (int i = 0; i < 600; ++i) {
      now_ms += static_cast<TimeMs>(random.below(200));
      const SessionId session = 1 + random.below(4);
      Message message = random.message(true);
      const State& state = coordinator.state();
      // Half of the time what might fit.
      if (random.below(2) == 0) {
        if (auto* ready = std::get_if<Ready>(&message)) {
          ready->next = {state.epoch, state.round(), state.attempts + 1};
          if (state.committed) ready->state_hash = state.committed->hash;
          ready->tokens %= 1 << 20;
          ready->used = {};
        } else if (auto* done = std::get_if<Done>(&message)) {
          *done = {running, 1};
        } else if (auto* holds = std::get_if<Holds>(&message); holds && state.committed) {
          holds->state = state.committed_info();
        } else if (auto* links = std::get_if<Links>(&message)) {
          links->up = {{"c0", 1}, {"c1", 1}, {"c2", 1}, {"c3", 1}};
        }
      }
      carry_out(coordinator.receive(session, message, now_ms));
      if (random.below(30) == 0) carry_out(coordinator.disconnected(session, now_ms));
      if (random.below(10) == 0) carry_out(coordinator.tick(now_ms));
    }
    const Replay replayed = replay(journal);
    REQUIRE(replayed.error == "");
    Writer ours, theirs;
    ours(coordinator.state());
    theirs(replayed.state);
    CHECK(ours.bytes == theirs.bytes);
    CHECK(coordinator.state().ledger.consistent());
  }
  CHECK(commits > 100);
}

TEST_CASE("a member survives a coordinator that talks nonsense") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    RandomMessages random(seed);
    MemberConfig config;
    config.self = {"c1", 1};
    config.lease_samples = 8;
    Member member(config, {});
    member.connected(0);
    TimeMs now_ms = 0;
    for (int i = 0; i < 400; ++i) {
      now_ms += static_cast<TimeMs>(random.below(300));
      const MemberActions actions = member.receive(random.message(), now_ms);
      for (const MemberAction& action : actions) {
        if (const auto* run = std::get_if<RunExchange>(&action)) {
          member.exchange_done(run->start.id, random.below(3));
        } else if (std::holds_alternative<ApplyExchange>(action)) {
          member.applied(random.below(3));
        } else if (const auto* fetch = std::get_if<FetchState>(&action)) {
          member.fetched(fetch->fetch.state.id, random.below(3));
        } else if (std::holds_alternative<BeginRound>(action)) {
          member.take(random.below(9));
          member.round_finished(3, 1);
        }
      }
      member.tick(now_ms);
    }
    CHECK(member.round() > 0);
  }
}
