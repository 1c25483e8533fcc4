#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/member.hpp"
#include "tests/wide/simulator/checks.hpp"
#include "tests/wide/simulator/random.hpp"

namespace train::wide::sim {

/// One job in one thread: a coordinator with a disk, clusters, the network between them, and what
/// the clusters do to samples and parameters. All chance comes from one seed.
class World {
 public:
  World(std::uint64_t seed, bool verbose);
  /// Runs the whole schedule; throws Violation.
  void run();

  std::uint64_t events() const { return events_; }
  const Checks& checks() const { return checks_; }
  TimeMs now_ms() const { return now_ms_; }

 private:
  // --- time
  struct Event {
    TimeMs at_ms;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const {
      return std::pair(at_ms, order) > std::pair(other.at_ms, other.order);
    }
  };
  void after(TimeMs delay_ms, std::function<void()> run);
  void say(const std::string& who, const std::string& what) const;
  void step();

  // --- network (network.cpp)
  using LinkKey = std::pair<std::string, std::string>;  // by name
  /// Both directions keep their order; what is under way is lost when the connection breaks.
  struct Connection {
    std::string cluster;
    bool open = true;
    bool silent = false;  // nothing arrives any more, and nobody is told
    TimeMs to_coordinator_ms = 0, to_member_ms = 0;
  };
  enum class Way { normal, stalled, silent, cut };
  void dial(const std::string& name);
  void transmit(SessionId session, bool to_coordinator, std::optional<Message> message);
  void arrive(SessionId session, bool to_coordinator, const Bytes& frame);
  void break_connection(SessionId session, bool tell_coordinator, bool tell_member);
  void partition(const std::string& name, Way way, TimeMs duration_ms);
  void set_link(const std::string& a, const std::string& b, bool up);
  bool link_up(const std::string& a, const std::string& b) const;
  void tell_links(const std::string& name);

  // --- coordinator (coordinator_process.cpp)
  void start_coordinator();
  void kill_coordinator();
  void carry_out(CoordinatorActions actions);
  void drain_coordinator();
  void written(const Bytes& bytes, bool whole_journal);
  /// Runs it now, or when the coordinator's process goes on, in order.
  void at_coordinator(std::function<void()> run);
  void hold_coordinator(TimeMs duration_ms);

  // --- clusters (cluster_process.cpp, data_plane.cpp)
  struct Cluster {
    std::string name;
    bool up = false;
    std::uint64_t incarnation = 0;
    std::uint64_t job = 7;
    std::optional<Member> member;
    SessionId session = 0;
    TimeMs session_ms = 0;  // when it began
    Way way = Way::normal;
    TimeMs way_until_ms = 0;
    std::uint64_t wake_order = 0;
    std::uint64_t seen_epoch = 0;
    // What it computes.
    std::uint64_t parameters = 0;
    TimeMs parameters_ms = 0;  // since when
    Input frozen;
    RangeSet taken;
    int steps_done = 0;
    TimeMs hangs_until_ms = 0;  // only its client lives
    bool training = false, waiting = false, exhausted = false, finished = false, leaving = false;
    std::uint64_t training_order = 0, fetch_order = 0;
    TimeMs step_ms = 100;
    std::set<ExchangeId> running;
    std::map<ExchangeId, std::uint64_t> results;
    std::optional<std::pair<StateInfo, std::uint64_t>> checkpoint;
    std::string process() const { return name + "/" + std::to_string(incarnation); }
  };
  /// An event of this process: dropped when it is dead by then.
  void after(TimeMs delay_ms, Cluster& cluster, std::function<void()> run);
  /// The same, and put off while the process hangs.
  void after_hang(TimeMs delay_ms, Cluster& cluster, std::function<void()> run);
  void start_cluster(Cluster& cluster, bool from_checkpoint);
  void kill_cluster(Cluster& cluster);
  void start_in_the_job(Cluster& cluster);
  void carry_out(Cluster& cluster, MemberActions actions);
  void carry_out(Cluster& cluster, const MemberAction& action);
  void train_step(Cluster& cluster);
  void end_round(Cluster& cluster);
  void run_exchange(Cluster& cluster, const Start& start);
  void try_exchange(const ExchangeId& id);
  void fail_exchanges(const std::string& lost, const std::string& only_with);
  void fail_later(Cluster& cluster, const ExchangeId& id, const std::string& peer);
  void apply_exchange(Cluster& cluster, const StateInfo& state);
  void fetch_state(Cluster& cluster, const Fetch& fetch);
  std::map<std::string, Holder> living() const;
  /// Those of them that `name` could fetch from, as the coordinator must know by now.
  std::map<std::string, Holder> within_reach(const std::string& name) const;

  // --- faults (faults.cpp)
  void choose_schedule();
  void fault();
  void fault(int kind, Cluster& cluster);
  /// A moment at which a death hurts most: in some schedules it comes just then.
  void delicate(Cluster* cluster);
  Cluster& any_cluster();
  void heal();
  bool ended() const;
  void run_to_the_end();
  void return_late();

  Random random_;
  const bool verbose_;
  TimeMs now_ms_ = 0;
  std::uint64_t orders_ = 0, events_ = 0;
  std::priority_queue<Event> queue_;

  CoordinatorConfig config_;
  std::uint64_t batch_;
  int inner_steps_;
  std::uint64_t samples_total_;
  std::uint64_t rounds_total_ = 0;
  TimeMs delay_ms_ = 20, jitter_ms_ = 20, chaos_ms_ = 0;
  int fault_gap_ms_ = 1000;
  bool healed_ = false;
  std::vector<int> fault_weights_;
  int delicate_percent_ = 0, damage_percent_ = 0;
  std::string stays_down_;   // for ever, from the healing on
  LinkKey stays_cut_;        // the same
  std::set<LinkKey> flaky_;  // up, but exchanges over it fail
  TimeMs healed_ms_ = 0, patience_ms_ = 0;

  std::map<SessionId, Connection> connections_;
  SessionId sessions_ = 0;
  std::set<LinkKey> links_down_;
  std::map<LinkKey, TimeMs> links_up_ms_;  // those that were down before

  std::optional<Coordinator> coordinator_;
  std::uint64_t coordinator_life_ = 0;
  std::uint64_t coordinator_wake_ = 0;
  std::deque<CoordinatorAction> todo_;
  bool disk_busy_ = false;
  bool held_ = false;  // its process does not run: a slow disk, a signal
  TimeMs held_until_ms_ = 0;
  std::deque<std::function<void()>> held_work_;
  std::set<SessionId> held_mail_;
  Bytes disk_;

  std::map<std::string, Cluster> clusters_;
  struct Exchange {
    Start start;
    std::map<std::string, Input> inputs;
    bool moving = false;
  };
  std::map<ExchangeId, Exchange> exchanges_;
  Checks checks_;
};

}  // namespace train::wide::sim
