#include <utility>

#include <fmt/format.h>

#include "tests/wide/simulator/world.hpp"

namespace train::wide::sim {

namespace {
constexpr std::uint64_t initial_parameters = 0x1234;
}

void World::start_cluster(Cluster& cluster, bool from_checkpoint) {
  if (cluster.up) return;
  Cluster fresh;
  fresh.name = cluster.name;
  fresh.checkpoint = cluster.checkpoint;
  fresh.step_ms = cluster.step_ms;
  fresh.way = cluster.way;
  fresh.way_until_ms = cluster.way_until_ms;
  fresh.incarnation = cluster.incarnation + 1;
  fresh.job = cluster.job;
  cluster = std::move(fresh);
  cluster.up = true;
  StateInfo state;
  state.hash = cluster.parameters = initial_parameters;
  if (from_checkpoint && cluster.checkpoint) {
    state = cluster.checkpoint->first;
    cluster.parameters = cluster.checkpoint->second;
  }
  checks_.held(cluster.name, state.id);
  say(cluster.name, "starts with the state of " + to_string(state.id));
  MemberConfig config;
  config.job = cluster.job;
  config.rounds_total = rounds_total_;
  config.self = {cluster.name, cluster.incarnation};
  config.offer = {{"address of " + cluster.name}, 1};
  config.lease_samples = batch_ * static_cast<std::uint64_t>(inner_steps_);
  config.heartbeat = config_.heartbeat;
  cluster.member.emplace(config, state);
  for (auto& [name, other] : clusters_) tell_links(name);
  dial(cluster.name);
}

void World::kill_cluster(Cluster& cluster) {
  if (!cluster.up) return;
  say(cluster.name, "dies");
  cluster.up = false;
  cluster.member.reset();
  fail_exchanges(cluster.name, "");
  if (cluster.session != 0) {
    // The system may close the connection after what was sent; or the machine is gone.
    if (random_.chance(50)) {
      transmit(cluster.session, true, std::nullopt);
    } else {
      connections_.erase(cluster.session);
    }
  }
  cluster.session = 0;
  for (auto& [name, other] : clusters_) tell_links(name);
}

// As its operator would, who is told that its flags differ.
void World::start_in_the_job(Cluster& cluster) {
  const std::uint64_t job = checks_.journal().job;
  cluster.job = job != 0 ? job : 15 - cluster.job;
  kill_cluster(cluster);
  after(1'000, [this, &cluster] {
    if (cluster.name != stays_down_) start_cluster(cluster, true);
  });
}

void World::carry_out(Cluster& cluster, MemberActions actions) {
  for (const MemberAction& action : actions) {
    if (!cluster.up) return;
    carry_out(cluster, action);
  }
}

void World::carry_out(Cluster& cluster, const MemberAction& action) {
  if (const auto* send = std::get_if<Send>(&action)) {
    if (cluster.session != 0) transmit(cluster.session, true, send->message);
  } else if (std::holds_alternative<Reconnect>(action)) {
    transmit(cluster.session, true, std::nullopt);
    cluster.session = 0;
    dial(cluster.name);
  } else if (std::holds_alternative<BeginRound>(action)) {
    cluster.training = true;
    cluster.waiting = false;
    cluster.steps_done = 0;
    after_hang(cluster.step_ms, cluster, [this, &cluster, order = ++cluster.training_order] {
      if (order == cluster.training_order) train_step(cluster);
    });
  } else if (const auto* finish = std::get_if<FinishRound>(&action)) {
    after_hang(0, cluster, [this, &cluster, round = finish->round] {
      if (cluster.training && cluster.member->round() == round) end_round(cluster);
    });
  } else if (const auto* lease = std::get_if<LeaseChanged>(&action)) {
    cluster.exhausted = lease->exhausted;
    if (cluster.training && std::exchange(cluster.waiting, false)) train_step(cluster);
  } else if (const auto* run = std::get_if<RunExchange>(&action)) {
    run_exchange(cluster, run->start);
  } else if (const auto* stop = std::get_if<StopExchange>(&action)) {
    say(cluster.name, "stops " + to_string(stop->id));
    if (cluster.running.erase(stop->id) > 0) fail_exchanges(cluster.name, "");
    cluster.results.erase(stop->id);
  } else if (const auto* apply = std::get_if<ApplyExchange>(&action)) {
    apply_exchange(cluster, apply->state);
  } else if (const auto* discard = std::get_if<Discard>(&action)) {
    say(cluster.name, "discards its work: " + discard->reason);
    cluster.training = cluster.exhausted = false;
    ++cluster.training_order;
    cluster.taken = {};
    cluster.frozen = {};
    checks_.discarded(cluster.process());
  } else if (const auto* fetch = std::get_if<FetchState>(&action)) {
    fetch_state(cluster, fetch->fetch);
  } else if (std::holds_alternative<StopFetch>(action)) {
    ++cluster.fetch_order;
  } else if (std::holds_alternative<JobFinished>(action)) {
    cluster.finished = true;
  } else if (const auto* stop_all = std::get_if<Stop>(&action)) {
    say(cluster.name, "ends: " + stop_all->reason);
    if (stop_all->refused && stop_all->reason.find(another_job_text) != std::string::npos) {
      return start_in_the_job(cluster);
    }
    require(!stop_all->refused, cluster.name + " is refused: " + stop_all->reason);
    if (stop_all->last) cluster.checkpoint.emplace(cluster.member->committed(), cluster.parameters);
    kill_cluster(cluster);
    if (!healed_ || stop_all->finished) return;
    after(1'000, [this, &cluster] { start_cluster(cluster, true); });
  } else if (const auto* log = std::get_if<Log>(&action)) {
    say(cluster.name, log->text);
  } else if (const auto* wake = std::get_if<WakeAt>(&action)) {
    after(wake->at_ms - now_ms_, cluster, [this, &cluster, order = ++cluster.wake_order] {
      if (order == cluster.wake_order) carry_out(cluster, cluster.member->tick(now_ms_));
    });
  }
}

/// One inner step: some samples, some time.
void World::train_step(Cluster& cluster) {
  if (!cluster.training) return;
  Member::Taken taken = cluster.member->take(batch_);
  require(taken.samples.size() == batch_ || taken.samples.empty() || cluster.exhausted,
          cluster.name + " gets a part of a batch");
  carry_out(cluster, std::move(taken.actions));
  if (taken.samples.empty()) {
    if (cluster.exhausted) return end_round(cluster);
    cluster.waiting = true;
    return;
  }
  cluster.taken.add(taken.samples);
  ++cluster.steps_done;
  if (cluster.steps_done >= inner_steps_) return end_round(cluster);
  after_hang(cluster.step_ms, cluster, [this, &cluster, order = ++cluster.training_order] {
    if (order == cluster.training_order) train_step(cluster);
  });
}

void World::end_round(Cluster& cluster) {
  cluster.training = false;
  ++cluster.training_order;
  cluster.frozen = {{cluster.name, cluster.incarnation}, cluster.taken.size(), cluster.taken};
  cluster.taken = {};
  // Of ever another bandwidth, or none.
  const std::uint64_t bandwidth =
      mix(cluster.member->round() + cluster.incarnation, cluster.name.back()) % 1'000'000;
  cluster.member->bandwidth_measured(bandwidth % 4 == 0 ? 0 : bandwidth);
  carry_out(cluster, cluster.member->round_finished(
                         cluster.frozen.tokens, static_cast<std::uint32_t>(cluster.steps_done)));
}

std::map<std::string, Holder> World::living() const {
  std::map<std::string, Holder> holders;
  for (const auto& [name, cluster] : clusters_) {
    if (!cluster.up) continue;
    holders[cluster.process()] = {name, cluster.member->committed().id, cluster.parameters,
                                  cluster.results};
  }
  return holders;
}

}  // namespace train::wide::sim
