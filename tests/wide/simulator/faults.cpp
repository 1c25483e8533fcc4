#include <iterator>

#include <fmt/format.h>

#include "tests/wide/simulator/world.hpp"

namespace train::wide::sim {
namespace {

constexpr std::uint64_t initial_parameters = 0x1234;

enum Fault : int {
  kill_member,
  start_member,
  kill_the_coordinator,
  cut_way,
  cut_link,
  leave,
  change_speed,
  fault_kinds
};

}  // namespace

/// A schedule is a few numbers and a weight for each kind of fault; many weights are zero, so that
/// some seeds see only deaths, others only partitions, and so on.
void World::choose_schedule() {
  const auto clusters = random_.between(1, 5);
  delay_ms_ = random_.between(0, 80);
  jitter_ms_ = random_.between(0, 120);
  chaos_ms_ = random_.between(5'000, 40'000);
  fault_gap_ms_ = static_cast<int>(random_.between(300, 4'000));
  for (int kind = 0; kind < fault_kinds; ++kind) {
    fault_weights_.push_back(random_.chance(60) ? static_cast<int>(random_.between(1, 10)) : 0);
  }
  config_.clusters_min = static_cast<std::uint64_t>(random_.between(1, clusters));
  config_.samples_total = samples_total_;
  config_.gather_ms = 5'000;
  config_.join_early_ms = random_.chance(50) ? 0 : 500;
  config_.heartbeat = {500, 2'000, 4'000, 6};
  config_.restart_grace_ms = random_.between(2'000, 6'000);
  config_.rollback_grace_ms = 60'000;
  config_.link_grace_ms = random_.between(0, 3'000);
  config_.round_ms = random_.chance(50) ? random_.between(300, 2'000) : 0;
  config_.straggler_ms = random_.between(1'000, 5'000);
  config_.join_hold_ms = 5'000;
  config_.rejoin_ms = random_.between(0, 500);
  config_.leave_margin_ms = 500;
  config_.compact_after_records = random_.chance(50) ? 4096 : 1 + random_.next() % 20;
  for (std::int64_t i = 1; i <= clusters; ++i) {
    const std::string name = fmt::format("c{}", i);
    Cluster& cluster = clusters_[name];
    cluster.name = name;
    cluster.step_ms = random_.between(20, 250);
  }
}

void World::fault() {
  int total = 0;
  for (int weight : fault_weights_) total += weight;
  if (total == 0) return;
  auto pick = random_.between(0, total - 1);
  int kind = 0;
  while (pick >= fault_weights_[static_cast<std::size_t>(kind)]) {
    pick -= fault_weights_[static_cast<std::size_t>(kind++)];
  }
  const auto any = [&]() -> Cluster& {
    return std::next(clusters_.begin(),
                     random_.between(0, static_cast<std::int64_t>(clusters_.size()) - 1))
        ->second;
  };
  Cluster& cluster = any();
  switch (kind) {
    case kill_member:
      kill_cluster(cluster);
      break;
    case start_member:
      start_cluster(cluster, random_.chance(50));
      break;
    case kill_the_coordinator:
      kill_coordinator();
      after(random_.between(50, 8'000), [this] { start_coordinator(); });
      break;
    case cut_way:
      partition(cluster.name, static_cast<Way>(random_.between(1, 3)), random_.between(100, 9'000));
      break;
    case cut_link: {
      const Cluster& other = any();
      if (&other == &cluster) break;
      set_link(cluster.name, other.name, false);
      after(random_.between(50, 12'000),
            [this, a = cluster.name, b = other.name] { set_link(a, b, true); });
      break;
    }
    case leave:
      if (!cluster.up) break;
      say(cluster.name, "wants to leave");
      carry_out(cluster,
                cluster.member->leave(static_cast<std::uint64_t>(random_.between(200, 8'000))));
      break;
    case change_speed:
      cluster.step_ms = random_.between(10, 800);
      break;
    default:
      break;
  }
}

/// The end of all faults: everything comes back, and then has to come to its end.
void World::heal() {
  say("world", "everything is healed");
  healed_ = true;
  const auto down = links_down_;
  for (const auto& [a, b] : down) set_link(a, b, true);
  start_coordinator();
  for (auto& [name, cluster] : clusters_) {
    cluster.way = Way::normal;
    cluster.step_ms = std::min<TimeMs>(cluster.step_ms, 250);
    start_cluster(cluster, true);
  }
}

bool World::ended() const {
  if (!coordinator_ || !coordinator_->finished() || disk_busy_) return false;
  for (const auto& [name, cluster] : clusters_) {
    if (cluster.up && !cluster.finished) return false;
  }
  return true;
}

World::World(std::uint64_t seed, bool verbose)
    : random_(seed),
      verbose_(verbose),
      batch_(static_cast<std::uint64_t>(random_.between(1, 8))),
      inner_steps_(static_cast<int>(random_.between(1, 6))),
      samples_total_(batch_ * static_cast<std::uint64_t>(inner_steps_ * random_.between(10, 120))),
      checks_(initial_parameters, samples_total_) {
  choose_schedule();
}

void World::run() {
  start_coordinator();
  for (auto& [name, cluster] : clusters_) {
    if (random_.chance(70))
      after(random_.between(0, 3'000), [this, &c = cluster] { start_cluster(c, false); });
  }
  for (TimeMs at = 1'000; at < chaos_ms_; at += random_.between(1, 2 * fault_gap_ms_)) {
    after(at, [this] { fault(); });
  }
  after(chaos_ms_, [this] { heal(); });
  const TimeMs patience_ms = 1'200'000;
  while (!(healed_ && ended())) {
    require(now_ms_ < chaos_ms_ + patience_ms, "no progress: samples are left");
    step();
  }
  checks_.finished(living());
}

void World::after(TimeMs delay_ms, std::function<void()> run) {
  queue_.push({now_ms_ + std::max<TimeMs>(delay_ms, 0), ++orders_, std::move(run)});
}

void World::after(TimeMs delay_ms, Cluster& cluster, std::function<void()> run) {
  after(delay_ms, [&cluster, incarnation = cluster.incarnation, run = std::move(run)] {
    if (cluster.up && cluster.incarnation == incarnation) run();
  });
}

void World::step() {
  require(!queue_.empty(), "nothing happens any more");
  Event event = queue_.top();
  queue_.pop();
  now_ms_ = event.at_ms;
  ++events_;
  event.run();
}

void World::say(const std::string& who, const std::string& what) const {
  if (verbose_) fmt::print("{:9.3f}  {:12} {}\n", static_cast<double>(now_ms_) / 1000, who, what);
}

}  // namespace train::wide::sim
