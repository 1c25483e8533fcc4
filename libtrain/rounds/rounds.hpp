#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/rounds/cluster_status.hpp"
#include "libtrain/rounds/egress_guard.hpp"
#include "libtrain/rounds/lanes.hpp"
#include "libtrain/rounds/order.hpp"
#include "libtrain/rounds/round_calendar.hpp"
#include "libtrain/rounds/turn.hpp"
#include "libtrain/tensor/booked_memory.hpp"

namespace train {

/// The job goes on without this cluster, which was part of it, or the coordinator was away for
/// longer than it waits. The outer state is whole: it can be saved, and any cluster's restarts the
/// job.
class CutOff : public Error {
 public:
  using Error::Error;
};

/// The outer loop of a job of several clusters. Every round of inner steps of this cluster's
/// optimizer, its lanes exchange what has changed with those of the other clusters and take the
/// outer optimizer's step; or the gradients of each step are exchanged, and AdamW runs on the
/// lanes. What a round makes is applied in all clusters or in none. Clusters come, go and return
/// meanwhile.
///
/// Per parameter of a lane, in bytes: 8 (rounds) or 12 (every step), and 8 more with a codec that
/// loses something, 8 more for those that this cluster sums. During an exchange, for each parameter
/// of its fragments, 16 or 20 more, and another 4 with overlap_steps; 8 of these stay until the
/// next. All of it is booked as MemoryUse::lanes, and told before by forecast_lanes(). Blocks that
/// an exchange gives back are kept for the next one.
class Rounds {
 public:
  /// The outer parameters start as the model's are now. Collective over the grid; everything passed
  /// must outlive the rounds. Throws Error for options that cannot be.
  Rounds(const Grid& grid, ShardedOptimizer& optimizer, RoundOptions options, JobOptions job);
  ~Rounds();
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;

  /// The outer state for a checkpoint: parameters under their names, what the outer optimizer keeps
  /// beside them as NAME.outer1, …; with layouts over the grid's world. They are the lane's own
  /// memory, which no exchange changes, and must go before the rounds do.
  std::vector<LogicalTensor> outer_tensors() const;
  /// Which state that is: JSON.
  std::string outer_state() const;
  /// Before begin(): memory for the tensors of a checkpoint, of the same names and layouts, for
  /// resume() to take.
  std::vector<LogicalTensor> outer_tensors_to_load();
  /// Goes on from such a state, when outer_tensors_to_load() are filled with it. Collective; throws
  /// Error when they are not that state's.
  void resume(const std::string& outer_state);

  /// Opens this cluster's ends of links and dials the coordinator. Collective; once. Throws Error
  /// for a plan that cannot be, and when it cannot listen.
  void begin(const RoundPlan& plan);

  /// What to train next; nothing when the job is over, or this cluster leaves it. Makes the
  /// exchanges that are due, and waits while there is nothing to train. Collective. Throws Error,
  /// the same on every rank, when this cluster cannot go on; CutOff where its state is worth
  /// saving.
  std::optional<Turn> next();
  /// Once after each inner step that next() asked for: its tokens, over the cluster. In every_step
  /// its gradients must be reduced, and the optimizer must not step.
  void trained(std::uint64_t tokens);

  /// Whether the exchange steps the parameters, not this cluster's optimizer.
  bool steps_parameters() const { return options_.synchronisation == Synchronisation::every_step; }
  /// Whether all of the job's steps are done; else the cluster has left before.
  bool finished() const { return end_ == JobEnd::finished; }
  /// Whether the cluster has left because its egress budget is spent: started again, it would
  /// leave again.
  bool budget_spent() const { return end_ == JobEnd::budget_spent; }
  /// Whether the job was over before this cluster, which came too late, had its result: nothing is
  /// left for it to do, started again or not.
  bool too_late() const { return end_ == JobEnd::too_late; }
  /// Why next() gave nothing.
  const std::string& ending() const { return ending_; }

  /// The outer state that this cluster holds, with the hash of its parameters and what belongs to
  /// them: equal in all clusters after each exchange.
  const wide::StateInfo& state() const { return state_; }
  /// Steps of the schedule that this state has behind it.
  std::int64_t steps_committed() const;
  std::uint64_t hash() const { return state_.hash; }
  /// The epoch, and how many clusters are in it.
  std::uint64_t epoch() const { return epoch_; }
  std::int64_t clusters() const { return clusters_; }
  /// L2 norm of the last mean that was applied.
  double mean_norm() const { return mean_norm_; }
  /// Of all this cluster's lanes, up to the last call of next().
  const WideTraffic& traffic() const { return traffic_; }
  /// What that has cost. On the first rank, from begin() on, where a price is known; else nullptr.
  const EgressMeter* egress() const;
  /// Seconds that training has stood still in next().
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct Lane;
  struct Leader;

  // rounds.cpp
  void make_lane();
  void open_lane();
  void open_leader(const std::vector<std::string>& addresses);
  EgressGuard egress_guard() const;
  std::uint64_t job_hash() const;
  std::unique_ptr<OuterOptimizer> outer_optimizer() const;
  RankStatus own_status() const;
  std::uint64_t combined_hash(std::uint64_t own) const;
  void log(const std::string& line) const;

  // round_checkpoint.cpp
  int kept() const { return steps_parameters() ? 2 : 1; }
  std::vector<LogicalTensor> tensors_over(std::span<const Tensor> fragments) const;

  // round_orders.cpp
  std::optional<Turn> carry_out(Order& order);
  void end_round(std::uint64_t round);
  void freeze(int fragment, std::span<float> values);
  void run_exchange(const wide::Start& start);
  void prepare(const ClusterStatus& status);
  void stop_exchange();
  void apply(const wide::StateInfo& state);
  void keep_ahead(int fragment);
  void discard(const std::string& reason);
  void fetch(const Order& order);
  void adopt(const wide::StateInfo& state);
  void use_roster(const Order& order);
  void spread_outer(int fragment);
  void spread_outer();
  void stop(const Order& order);

  const Grid& grid_;
  BookedMemory memory_;  // of all that lanes hold; goes after them
  ShardedOptimizer& optimizer_;
  RoundOptions options_;
  JobOptions job_;
  RoundPlan plan_{.last_step = std::numeric_limits<std::int64_t>::max()};
  RoundCalendar calendar_;
  std::vector<LogicalTensor> parameters_;  // in full precision, in the order of fragments
  Fragments fragments_;
  std::vector<LogicalTensor> exchanged_;  // parameters, or gradients; likewise
  Lanes lanes_;
  std::unique_ptr<Lane> lane_;      // on ranks that carry one
  std::unique_ptr<Leader> leader_;  // on the first rank
  wide::StateInfo state_;
  std::optional<std::uint64_t> result_hash_;  // of an exchange that is done
  wide::ExchangeId exchange_;                 // the last one that was run
  bool froze_ = false;                        // the lanes hold what this round changed
  bool has_trained_ = false;                  // a step since it froze last
  bool takes_part_ = false;                   // since the job took it in
  bool has_begun_ = false, in_turn_ = false;  // a turn: between next() and trained()
  std::uint64_t epoch_ = 0;
  std::int64_t clusters_ = 0;
  double mean_norm_ = 0.0, result_norm_ = 0.0;
  WideTraffic traffic_;
  double seconds_waited_ = 0.0;
  std::optional<JobEnd> end_;
  std::string ending_;
};

}  // namespace train
