#pragma once

#include <functional>
#include <memory>

#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/rounds/lane_exchange.hpp"
#include "libtrain/rounds/lanes.hpp"
#include "libtrain/rounds/outer_optimizer.hpp"

namespace train {

/// How clusters keep in step.
enum class Synchronisation : std::uint8_t {
  every_step,  ///< gradients are averaged at each step: exact data parallelism
  rounds,      ///< parameters are, after a round of inner steps (DiLoCo)
};

struct RoundOptions {
  Synchronisation synchronisation = Synchronisation::rounds;
  std::int64_t inner_steps = 100;  ///< of a round
  int lanes = 1;                   ///< the same in all clusters
  OuterOptions outer = {};
};

/// The outer loop of a job of several clusters: every `inner_steps` steps of this cluster's
/// optimizer, its lanes exchange what has changed with those of the other clusters and take the
/// outer optimizer's step; or the gradients of each step are exchanged. The inner optimizer's state
/// stays local. Outer parameters and momentum are sharded over the lanes: 8 bytes per parameter.
class Rounds {
 public:
  /// Makes a lane's exchange; called on ranks that carry a lane, with its index and its values.
  using MakeExchange = std::function<std::unique_ptr<LaneExchange>(int lane, std::size_t count)>;

  /// The outer parameters start as the model's are now: the same in all clusters. Collective over
  /// the grid; everything passed must outlive the rounds.
  Rounds(const Grid& grid, ShardedOptimizer& optimizer, RoundOptions options,
         const MakeExchange& make_exchange);
  ~Rounds();
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;

  /// After each step of the optimizer, with the tokens that this cluster trained in it. Exchanges
  /// when the round is over: true then. Collective over the grid.
  bool step(std::uint64_t tokens);

  std::int64_t rounds_done() const { return rounds_done_; }
  /// Of all this cluster's lanes, up to the last exchange.
  WideTraffic traffic() const { return traffic_; }
  /// Seconds that training has stood still for exchanges.
  double seconds_waited() const { return seconds_waited_; }
  /// Of all lanes' outer parameters and momentum; equal in all clusters after each exchange, whose
  /// number of lanes is the same. Collective over the grid.
  std::uint64_t hash() const;

 private:
  void exchange_parameters();
  void exchange_gradients();
  void exchange_lane(std::uint64_t tokens);
  void add_up_traffic();

  const Grid& grid_;
  ShardedOptimizer& optimizer_;
  RoundOptions options_;
  std::vector<LogicalTensor> exchanged_;  // full-precision parameters, or gradients
  Lanes lanes_;
  OuterOptimizer outer_;
  std::unique_ptr<LaneExchange> exchange_;
  std::vector<float> values_;  // of this rank's lane, before and after
  std::vector<float> mean_;
  std::uint64_t tokens_ = 0;
  std::int64_t inner_steps_done_ = 0;
  std::int64_t rounds_done_ = 0;
  WideTraffic traffic_;
  double seconds_waited_ = 0.0;
};

}  // namespace train
