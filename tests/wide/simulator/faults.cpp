#include <algorithm>
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
  upset_link,
  leave,
  change_speed,
  hold_the_coordinator,
  hang,
  fault_kinds
};

}  // namespace

/// A schedule is a few numbers and a weight for each kind of fault; many weights are zero, so that
/// some seeds see only deaths, others only partitions, and so on.
void World::choose_schedule() {
  const auto clusters = random_.chance(5) ? 1 : random_.between(2, 5);
  delay_ms_ = random_.between(0, 80);
  jitter_ms_ = random_.between(0, 120);
  chaos_ms_ = random_.between(5'000, 40'000);
  fault_gap_ms_ = static_cast<int>(random_.between(300, 4'000));
  for (int kind = 0; kind < fault_kinds; ++kind) {
    fault_weights_.push_back(random_.chance(60) ? static_cast<int>(random_.between(1, 10)) : 0);
  }
  delicate_percent_ = random_.chance(50) ? static_cast<int>(random_.between(1, 15)) : 0;
  damage_percent_ = random_.chance(10) ? 10 : 0;
  config_.clusters_min = static_cast<std::uint64_t>(random_.between(1, clusters));
  config_.samples_total = samples_total_;
  if (random_.chance(40)) rounds_total_ = static_cast<std::uint64_t>(random_.between(2, 60));
  config_.late_ms = 5'000;
  config_.late_alone_ms = 2'000;
  config_.gather_ms = 5'000;
  config_.join_early_ms = random_.chance(50) ? 0 : 500;
  config_.heartbeat = {500, 2'000, 4'000, 6};
  config_.restart_grace_ms = random_.between(2'000, 6'000);
  config_.rollback_grace_ms = 60'000;
  if (random_.chance(20)) {
    // The job goes back although somebody who has the last state lives, out of its reach.
    damage_percent_ = 0;  // else it may go back to a damaged one of the same name
    config_.rollback_grace_ms = random_.between(0, 2'000);
    checks_.expect_hasty_rollbacks(true);
  }
  config_.link_grace_ms = random_.between(0, 3'000);
  config_.round_ms = random_.chance(50) ? random_.between(300, 2'000) : 0;
  config_.straggler_ms = random_.between(1'000, 5'000);
  config_.laggard_ms = random_.between(1'500, 8'000);
  config_.exchange_ms = random_.between(3'000, 10'000);
  config_.join_hold_ms = 5'000;
  config_.rejoin_ms = random_.between(0, 500);
  config_.leave_margin_ms = 500;
  config_.compact_after_records = random_.chance(50) ? 4096 : 1 + random_.next() % 20;
  const bool only_held = random_.chance(10);
  if (only_held) {
    // Nothing but a coordinator whose process is held up: nobody may lose its work for that.
    std::fill(fault_weights_.begin(), fault_weights_.end(), 0);
    fault_weights_[hold_the_coordinator] = 1;
    delicate_percent_ = damage_percent_ = 0;
    config_.straggler_ms = config_.laggard_ms = 60'000;  // of Readys that wait to be read
    checks_.expect_nobody_dropped(true);
  }
  checks_.expect_damage(damage_percent_ > 0);
  for (std::int64_t i = 1; i <= clusters; ++i) {
    const std::string name = fmt::format("c{}", i);
    Cluster& cluster = clusters_[name];
    cluster.name = name;
    cluster.step_ms = random_.between(20, 250);
  }
  // Wrong flags at one's first start.
  if (!only_held && random_.chance(20)) any_cluster().job = 8;
}

World::Cluster& World::any_cluster() {
  const auto last = static_cast<std::int64_t>(clusters_.size()) - 1;
  return std::next(clusters_.begin(), random_.between(0, last))->second;
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
  fault(kind, any_cluster());
}

void World::fault(int kind, Cluster& cluster) {
  const std::string name = cluster.name, other = any_cluster().name;
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
      partition(name, static_cast<Way>(random_.between(1, 3)), random_.between(100, 9'000));
      break;
    case cut_link:
      if (other == name) break;
      set_link(name, other, false);
      after(random_.between(50, 12'000), [this, name, other] {
        if (LinkKey(std::minmax(name, other)) != stays_cut_) set_link(name, other, true);
      });
      break;
    case upset_link:
      if (other == name) break;
      flaky_.insert(std::minmax(name, other));
      after(random_.between(500, 8'000),
            [this, name, other] { flaky_.erase(std::minmax(name, other)); });
      break;
    case leave:
      if (!cluster.up) break;
      say(name, "wants to leave");
      cluster.leaving = true;
      carry_out(cluster,
                cluster.member->leave(static_cast<std::uint64_t>(random_.between(200, 8'000))));
      break;
    case change_speed:
      cluster.step_ms = random_.between(10, 800);
      break;
    case hold_the_coordinator:
      hold_coordinator(random_.between(500, 9'000));
      break;
    case hang:
      say(name, "hangs");
      cluster.hangs_until_ms = now_ms_ + random_.between(500, 15'000);
      break;
    default:
      break;
  }
}

void World::delicate(Cluster* cluster) {
  if (healed_ || delicate_percent_ == 0 || !random_.chance(delicate_percent_)) return;
  // Not here and now, in the middle of a call, but before anything else happens.
  const int kind = cluster == nullptr || random_.chance(30) ? kill_the_coordinator
                   : random_.chance(50)                     ? kill_member
                                                            : cut_way;
  const std::string name = cluster != nullptr ? cluster->name : any_cluster().name;
  after(random_.chance(50) ? 0 : random_.between(0, 100), [this, kind, name] {
    if (!healed_) fault(kind, clusters_.at(name));
  });
}

/// The end of all faults, but perhaps of two: everything else comes back, and then the job has to
/// come to its end.
void World::heal() {
  say("world", "everything is healed");
  healed_ = true;
  healed_ms_ = now_ms_;
  checks_.expect_nobody_dropped(false);
  if (clusters_.size() > 2 && random_.chance(30)) {
    const std::string a = any_cluster().name, b = any_cluster().name;
    if (a != b) {
      stays_cut_ = std::minmax(a, b);
      set_link(a, b, false);
    }
  }
  if (stays_cut_ == LinkKey() && clusters_.size() > config_.clusters_min && random_.chance(30)) {
    stays_down_ = any_cluster().name;
    kill_cluster(clusters_.at(stays_down_));
  }
  const auto down = links_down_;
  for (const auto& link : down) {
    if (link != stays_cut_) set_link(link.first, link.second, true);
  }
  flaky_.clear();
  start_coordinator();
  for (auto& [name, cluster] : clusters_) {
    cluster.way = Way::normal;
    cluster.step_ms = std::min<TimeMs>(cluster.step_ms, 250);
    if (name != stays_down_) start_cluster(cluster, true);
  }
  // What is left, round by round, after everyone had time to notice and to come back.
  const auto round_samples =
      static_cast<TimeMs>(batch_) * (config_.round_ms > 0 ? 1 : inner_steps_);
  const TimeMs rounds = static_cast<TimeMs>(samples_total_) / round_samples + 1;
  patience_ms_ = config_.rollback_grace_ms + 60'000 + rounds * (inner_steps_ * 250 + 2'500);
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
  while (!healed_) step();
  run_to_the_end();
  if (random_.chance(50)) return_late();
}

void World::run_to_the_end() {
  const TimeMs began_ms = now_ms_;
  while (!ended()) {
    require(now_ms_ < began_ms + patience_ms_, "no progress: the job does not end");
    step();
  }
  checks_.finished(living());
}

/// When all is over some go, and some come with what they have; the coordinator may go, too.
void World::return_late() {
  say("world", "the job is over; some come late");
  patience_ms_ = 60'000;
  if (random_.chance(50)) {
    kill_coordinator();
    after(random_.between(50, 3'000), [this] { start_coordinator(); });
  }
  for (auto& [name, cluster] : clusters_) {
    if (random_.chance(50)) kill_cluster(cluster);
    if (!cluster.up && random_.chance(70)) {
      after(random_.between(0, 4'000),
            [this, &c = cluster] { start_cluster(c, random_.chance(50)); });
    }
  }
  bool all_came = false;
  after(5'000, [&all_came] { all_came = true; });
  while (!all_came) step();
  run_to_the_end();
}

void World::after(TimeMs delay_ms, std::function<void()> run) {
  queue_.push({now_ms_ + std::max<TimeMs>(delay_ms, 0), ++orders_, std::move(run)});
}

void World::after(TimeMs delay_ms, Cluster& cluster, std::function<void()> run) {
  after(delay_ms, [&cluster, incarnation = cluster.incarnation, run = std::move(run)] {
    if (cluster.up && cluster.incarnation == incarnation) run();
  });
}

void World::after_hang(TimeMs delay_ms, Cluster& cluster, std::function<void()> run) {
  after(delay_ms, cluster, [this, &cluster, run = std::move(run)] {
    if (now_ms_ >= cluster.hangs_until_ms) return run();
    after_hang(cluster.hangs_until_ms - now_ms_, cluster, run);
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
