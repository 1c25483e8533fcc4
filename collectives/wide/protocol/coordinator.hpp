#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "collectives/wide/protocol/actions.hpp"
#include "collectives/wide/protocol/conflicts.hpp"
#include "collectives/wide/protocol/heartbeat.hpp"
#include "collectives/wide/protocol/state.hpp"

namespace train::wide {

/// To a cluster whose hash of what all must agree on is another one: it does not say of what.
inline constexpr const char* another_job_text =
    "its model, data, seed, schedule (--steps and --stop-at among others), AdamW (--beta1, "
    "--beta2, --weight-decay, --clip), or what its exchanges do (--sync, --inner-steps, "
    "--fragments, --codec, --lanes, --outer-lr, --outer-momentum), differ from the job's";

struct CoordinatorConfig {
  std::uint64_t clusters_min = 1;   // to begin a job, or to go on from an older state
  std::uint64_t samples_total = 0;  // the job ends when they are trained; 0: not by their count
  HeartbeatConfig heartbeat;
  TimeMs gather_ms = 30'000;           // for links between the first members, when a job begins
  TimeMs join_early_ms = 2'000;        // a newcomer this soon after a commit trains that round
  TimeMs restart_grace_ms = 15'000;    // for members to come back to a restarted coordinator
  TimeMs rollback_grace_ms = 600'000;  // for a holder of the last commit to come back
  TimeMs link_grace_ms = 5'000;        // for a link between two ready members to come back
  TimeMs round_ms = 0;                 // ends inner steps after this time; 0: by count alone
  TimeMs straggler_ms = 30'000;        // for Ready after a Finish
  TimeMs laggard_ms = 600'000;         // at least, for what others have done or are ready for
  TimeMs exchange_ms = 3'600'000;      // at least, for an exchange that nobody has done
  TimeMs join_hold_ms = 120'000;       // an exchange's for a newcomer that came too late before
  TimeMs rejoin_ms = 1'000;            // before a dropped member enters again; doubles each time
  TimeMs late_ms = 30'000;             // for who comes after the end to find the last state
  TimeMs late_alone_ms = 2'000;        // the same, when nobody seems to have it any more
  TimeMs leave_margin_ms = 5'000;      // before the end of a notice: go without the round
  std::uint32_t attempts_max = 3;      // of an exchange, before who is in the way is left out
  std::uint64_t compact_after_records = 4096;
};

/// The coordinator's side of the protocol (README.md): membership, epochs, rounds and the data
/// ledger. One per job. Every call returns what to do, in order.
class Coordinator {
 public:
  /// `state` is what the journal replayed to. Call tick() once before anything else.
  Coordinator(CoordinatorConfig config, State state, TimeMs now_ms);

  CoordinatorActions receive(SessionId session, const Message& message, TimeMs now_ms);
  /// Something of it has arrived and waits to be received: it is not silent, however long that
  /// takes. To be told before anything else when calls were held up.
  void heard(SessionId session, TimeMs now_ms);
  CoordinatorActions disconnected(SessionId session, TimeMs now_ms);
  CoordinatorActions tick(TimeMs now_ms);

  const State& state() const { return state_; }
  /// The job is over: clusters that come now get its last state, if another one has it, and go.
  bool finished() const { return state_.finished(config_.samples_total); }
  /// The job is over, and all members of its last epoch have said that they hold its last state.
  bool concluded() const;
  /// The job is over, and whoever is connected knows it, with its last state or without.
  bool everyone_told() const;

 private:
  /// A cluster: in the epoch, or a newcomer. All of it may be lost in a restart.
  struct Peer {
    Identity self;
    Offer offer;
    std::uint64_t job = 0, rounds_total = 0;
    SessionId session = 0;  // 0: not connected
    HeartbeatDeadline heartbeat;
    bool lost = false;                  // of the epoch, and silent for too long
    std::optional<StateInfo> holds;     // said since it entered, left, or was told a commit
    std::optional<ExchangeId> pending;  // said in its Hello
    std::vector<LinkInfo> links;
    // As a member.
    TimeMs entered_ms = 0;
    std::optional<Ready> ready;
    std::optional<std::uint64_t> done;
    std::optional<std::string> failed;  // who did not answer
    std::string dropped;                // why the next epoch is without it
    TimeMs kept_waiting_ms = 0;         // for how long others waited for it in vain
    bool refetch = false;               // its state is not what its hash says
    std::optional<TimeMs> leave_by_ms;
    std::uint64_t leave_round = 0;
    bool released = false;
    bool told_finished = false;
    std::optional<TimeMs> late_by_ms;        // when to give up on getting it the last state
    std::optional<TimeMs> late_alone_by_ms;  // the same, while nobody has it
    // As a newcomer.
    std::optional<Fetch> fetch;
    std::optional<TimeMs> unlinked_ms;  // since when missing links keep it out
    std::string unlinked_told;
    bool fetched = false;  // the last commit, and has not entered yet
    std::set<std::string> bad_sources;
    std::uint32_t stale_fetches = 0;  // since it entered: a commit came first
    std::optional<TimeMs> held_ms;    // since when the next exchange waits for its fetch
    TimeMs fetch_after_ms = 0, enter_after_ms = 0;
    std::uint32_t drops = 0;
  };

  /// From the caller's clock to the coordinator's, which stands still while calls are held up.
  void set_time(TimeMs now_ms);

  // Messages: coordinator_hello.cpp, coordinator.cpp.
  void hello(SessionId session, const Hello& hello);
  bool replaced(const Identity& self) const;
  std::string unreachable(const Hello& hello) const;
  std::string too_large(const Hello& hello) const;
  void greet(Peer& peer);
  void on(Peer& peer, const Heartbeat& heartbeat);
  void on(Peer& peer, const Links& links);
  void on(Peer& peer, const LeaseRequest& request);
  void on(Peer& peer, const Ready& ready);
  void on(Peer& peer, const Done& done);
  void on(Peer& peer, const Failed& failed);
  void on(Peer& peer, const Holds& holds);
  void on(Peer& peer, const FetchFailed& failed);
  void on(Peer& peer, const Leave& leave);
  template <typename T>
  void on(Peer&, const T&) {}  // what only coordinators say

  // Rules. Each looks for one thing that is to be done now, does it and returns true.
  void advance();
  bool expire_peers();  // coordinator_members.cpp
  bool adopt_state();
  bool refuse_other_jobs(std::uint64_t job, std::uint64_t rounds_total);
  bool change_epoch();
  bool release_leavers();  // coordinator_newcomers.cpp
  bool assign_fetches();
  bool conclude_job();       // coordinator_end.cpp
  bool conclude_exchange();  // coordinator_exchange.cpp
  bool end_overdue_exchange();
  bool end_inner_steps();
  bool begin_exchange();

  void open_epoch(std::vector<EpochMember> members);
  void leave_epoch(Peer& peer);
  void abort_exchange();
  void commit_exchange(std::uint64_t hash);
  std::vector<const Peer*> admissible(std::vector<const Peer*> together);
  bool gathered(std::size_t count);
  bool holder_expected() const;
  void blame(const std::vector<Conflict>& conflicts, const char* why);
  void drop_disagreeing();
  bool holding_for_newcomer();
  bool kept_waiting();
  void finish_round();
  const Peer* nearest_source(const Peer& newcomer) const;
  bool can_enter_with(const Peer& newcomer) const;
  void fetch_again();
  bool tell_missing_links();
  std::string missing_links(const Peer& newcomer) const;

  // Small questions.
  Peer* by_session(SessionId session);
  const EpochMember* entry(const Peer& peer) const;  // in the epoch, if it is this incarnation
  bool in_epoch(const Peer& peer) const { return entry(peer) != nullptr; }
  bool exchanging() const { return state_.in_flight.has_value() && !aborted_; }
  bool same_job(std::uint64_t job, std::uint64_t rounds_total) const;
  bool holds_committed(const Peer& peer) const;
  bool linked(const Peer& a, const Peer& b) const;
  static bool says_linked(const Peer& from, const Peer& to);
  bool stays(const Peer& peer) const;  // a member that will be one in the next epoch, too
  std::vector<Conflict> broken_links(const std::vector<const Peer*>& peers) const;
  ExchangeId next_exchange() const;
  Start start_message() const;
  std::vector<Peer*> member_peers();  // those of the epoch that are known, by name
  /// Whether `at_ms` has come; if not, a wake-up then.
  bool due(TimeMs at_ms);

  // What goes out.
  void decide(const Record& record);  // journal it, then take it for a fact
  void send(const Peer& peer, Message message);
  void broadcast_directory();
  void close(Peer& peer);
  void log(std::string text, Log::Level level = Log::Level::info);
  void warn(std::string text) { log(std::move(text), Log::Level::warning); }
  CoordinatorActions take_actions();

  CoordinatorConfig config_;
  State state_;
  std::map<std::string, Peer> peers_;  // by name
  struct Gone {
    std::uint64_t incarnation = 0;
    TimeMs at_ms = 0;
  };
  std::map<std::string, Gone> gone_;  // newcomers whose connection ended just now
  std::uint64_t records_ = 0;         // since the journal was compacted

  bool aborted_ = false;  // the attempt in flight; no record: an abort only withdraws a question
  std::uint32_t failures_ = 0;  // of attempts in this epoch and round
  std::vector<Conflict> blamed_;
  TimeMs adopted_ms_ = 0;  // or started
  TimeMs round_began_ms_ = 0;
  std::optional<TimeMs> first_ready_ms_, first_done_ms_;  // of the round, of the attempt
  TimeMs attempt_began_ms_ = 0, longest_exchange_ms_ = 0;
  bool finishing_ = false;  // Finish was sent for this round
  TimeMs finish_ms_ = 0;
  std::optional<TimeMs> links_down_ms_;    // since when broken links keep an exchange from starting
  std::optional<TimeMs> holders_gone_ms_;  // since when nobody has the committed state

  TimeMs now_ms_ = 0;
  TimeMs called_ms_ = 0;       // the last time, by the caller's clock
  TimeMs stood_still_ms_ = 0;  // in all: the caller's clock is ahead by this
  TimeMs wake_ms_ = 0;
  CoordinatorActions out_;
};

}  // namespace train::wide
