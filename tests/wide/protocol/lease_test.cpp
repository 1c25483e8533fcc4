// Which samples members get, when and how many at a time.
#include <map>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/member.hpp"

using namespace train::wide;

namespace {

/// A coordinator and two members "a" and "b" in one thread; everything arrives at once. Exchanges
/// always give hash 1.
class Job {
 public:
  Job(std::uint64_t lease_samples, std::uint64_t samples_total, std::uint64_t rounds_total)
      : coordinator_(coordinator_config(samples_total), {}, 0) {
    for (const SessionId id : {1, 2}) {
      MemberConfig config;
      config.job = 1;
      config.rounds_total = rounds_total;
      config.self = {id == 1 ? "a" : "b", 1};
      config.offer = {{"host:1"}, 1};
      config.lease_samples = lease_samples;
      members_.emplace(id, Member(config, {}));
    }
    for (auto& [id, member] : members_) carry_out(id, member.connected(0));
    for (auto& [id, member] : members_) {
      carry_out(id, member.links_changed({{id == 1 ? "b" : "a", 1}}));
    }
  }

  RangeSet take(SessionId id, std::uint64_t count) {
    Member::Taken taken = members_.at(id).take(count);
    carry_out(id, std::move(taken.actions));
    return taken.samples;
  }
  void finish_round(SessionId id) { carry_out(id, members_.at(id).round_finished(1, 1)); }

  const Coordinator& coordinator() const { return coordinator_; }
  std::map<SessionId, int> begun, finished, requests;

 private:
  static CoordinatorConfig coordinator_config(std::uint64_t samples_total) {
    CoordinatorConfig config;
    config.clusters_min = 2;
    config.samples_total = samples_total;
    return config;
  }
  void carry_out(SessionId id, const MemberActions& actions) {
    Member& member = members_.at(id);
    for (const MemberAction& action : actions) {
      if (const auto* send = std::get_if<Send>(&action)) {
        requests[id] += std::holds_alternative<LeaseRequest>(send->message) ? 1 : 0;
        deliver(coordinator_.receive(id, send->message, 0));
      } else if (const auto* run = std::get_if<RunExchange>(&action)) {
        carry_out(id, member.exchange_done(run->start.id, 1));
      } else if (std::holds_alternative<ApplyExchange>(action)) {
        carry_out(id, member.applied(1));
      } else if (std::holds_alternative<BeginRound>(action)) {
        ++begun[id];
      } else if (std::holds_alternative<JobFinished>(action)) {
        ++finished[id];
      }
    }
  }
  void deliver(const CoordinatorActions& actions) {
    for (const CoordinatorAction& action : actions) {
      if (const auto* send = std::get_if<SendTo>(&action)) {
        carry_out(send->session, members_.at(send->session).receive(send->message, 0));
      }
    }
  }

  Coordinator coordinator_;
  std::map<SessionId, Member> members_;
};

}  // namespace

TEST_CASE("who exchanges at each step trains on one range per step") {
  Job job(4, 0, 0);
  RangeSet trained;
  for (std::uint64_t step = 0; step < 20; ++step) {
    CAPTURE(step);
    RangeSet of_step;
    // In either order, and with one of them far ahead of the other.
    for (const SessionId id : {step % 2 == 0 ? 1 : 2, step % 2 == 0 ? 2 : 1}) {
      RangeSet mine = job.take(id, 4);
      if (mine.empty()) mine = job.take(id, 4);  // the first time, it had to ask
      REQUIRE(mine.size() == 4);
      CHECK_FALSE(of_step.intersects(mine));
      of_step.add(mine);
      job.finish_round(id);
    }
    CHECK(of_step == RangeSet({step * 8, step * 8 + 8}));
    trained.add(of_step);
  }
  CHECK(job.begun[1] == 21);
  CHECK(job.coordinator().state().round() == 21);
  CHECK(trained == RangeSet({0, 160}));
  CHECK(job.requests[1] == 21);  // one a step, the last for the step to come
}

TEST_CASE("a batch is whole, or nothing is left") {
  Job job(4, 11, 0);
  CHECK(job.take(1, 3).empty());  // asks for 4
  CHECK(job.take(1, 3) == RangeSet({0, 3}));
  CHECK(job.take(1, 3).empty());  // one is left: asks for 3 more
  CHECK(job.take(1, 3) == RangeSet({3, 6}));
  CHECK(job.take(2, 6).empty());  // asks for 6, but only 4 are left in all
  CHECK(job.take(2, 6).empty());  // "nothing is left" comes only now
  CHECK(job.take(2, 6) == RangeSet({7, 11}));
  CHECK(job.take(2, 6).empty());
  CHECK(job.take(1, 3).empty());  // asks, in vain
  CHECK(job.take(1, 3) == RangeSet({6, 7}));
  job.finish_round(1);
  job.finish_round(2);
  CHECK(job.coordinator().finished());
  CHECK(job.finished[1] == 1);
  CHECK(job.finished[2] == 1);
}

TEST_CASE("a job ends with its last round") {
  Job job(4, 0, 3);
  for (int round = 0; round < 3; ++round) {
    CHECK_FALSE(job.coordinator().finished());
    job.finish_round(1);
    job.finish_round(2);
  }
  CHECK(job.coordinator().finished());
  CHECK(job.coordinator().state().committed->id.round == 3);
  CHECK(job.begun[1] == 3);
  CHECK(job.finished[1] == 1);
  CHECK(job.finished[2] == 1);
}
