#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/adamw.hpp"
#include "libtrain/parallel/gradient_reducer.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

/// What the data group's ranks share instead of each holding it (Rajbhandari et al.: "ZeRO", SC
/// 2020). This version has stage 0: every rank holds all.
enum class Zero : std::uint8_t { stage0, stage1, stage2, stage3 };

struct OptimizerOptions {
  Zero zero = Zero::stage0;
  std::size_t bucket_bytes = std::size_t{25} << 20;
  DataType gradient_type = DataType::f32;  ///< f64 for a model in f64
};

/// Sums the gradients over the data group, clips them and steps AdamW. Moments are f32; a bf16
/// parameter has a full-precision copy in f32 that collects its small changes.
class ShardedOptimizer {
 public:
  using Options = OptimizerOptions;

  /// The model's parameters get their gradients here; the model must outlive the optimizer.
  /// Throws Error for a stage that this version does not have.
  ShardedOptimizer(Gpt& model, const Grid& grid, AdamW config, Options options = {});
  ~ShardedOptimizer();

  const AdamW& config() const { return config_; }

  /// Before a step's first backward pass, when the step has more than one: the gradients of
  /// `passes` backward passes add up, and only the last one communicates.
  void begin_step(int passes = 1);
  /// Waits for the gradients, clips them, changes the parameters. Returns the global norm of the
  /// gradient before clipping. When that is not finite, nothing has changed.
  double step() { return step(config_.lr); }
  double step(float lr);

  std::int64_t steps_done() const { return steps_done_; }
  /// Seconds that steps have waited for communication.
  double seconds_waited() const { return reducer_.seconds_waited(); }

 private:
  struct State {
    Tensor master;
    Tensor m;
    Tensor v;
  };

  double gradient_norm() const;

  Gpt& model_;
  AdamW config_;
  GradientReducer reducer_;
  std::vector<State> states_;  // in the order of the model's parameters
  std::int64_t steps_done_ = 0;
};

}  // namespace train
