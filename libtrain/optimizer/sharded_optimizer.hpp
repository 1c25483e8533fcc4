#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/adamw.hpp"
#include "libtrain/parallel/gradient_reducer.hpp"
#include "libtrain/parallel/grid.hpp"
#include "libtrain/parallel/logical_tensor.hpp"
#include "libtrain/parallel/parameter_buckets.hpp"
#include "libtrain/parallel/unit_prefetcher.hpp"

namespace train {

struct OptimizerOptions {
  Zero zero = Zero::stage0;
  std::size_t bucket_bytes = 0;            ///< see BucketOptions
  DataType gradient_type = DataType::f32;  ///< bf16 for a bf16 model; f64 for a model in f64
  /// Stage 3 keeps parameters of up to so many elements on every rank: gathering them would cost
  /// more time than they take memory.
  std::int64_t resident_elements = 100'000;
  /// Off when the parameters are stepped from outside: no memory for moments, and no step().
  bool moments = true;
};

/// How an optimizer with these options cuts parameters into buckets, for so many data ranks of
/// which so many share each bucket, and in which groups.
BucketOptions bucket_options(const OptimizerOptions& options, int data_ranks, int shard_ranks);
std::vector<ParameterGroup> parameter_groups(const Gpt& model);

/// Sums the gradients over the data group, clips them and steps AdamW, on what of gradients,
/// moments and parameters the ZeRO stage leaves on this rank. Moments are f32; a bf16 parameter has
/// a full-precision copy in f32 that collects its small changes.
class ShardedOptimizer {
 public:
  using Options = OptimizerOptions;

  /// Takes over the model's values and gradients, after parallelize() and the loading of weights;
  /// model and grid must outlive the optimizer. At stage 3 the model's values are with the
  /// optimizer from now on: `parameter->value()` may be read in the midst of a pass only. A model
  /// has one optimizer at a time. Collective. Throws Error for options that do not fit.
  ShardedOptimizer(Gpt& model, const Grid& grid, AdamW config, Options options = {});
  ~ShardedOptimizer();

  const AdamW& config() const { return config_; }
  Zero zero() const { return options_.zero; }

  /// Before a step's first backward pass, when the step has more than one: the gradients of
  /// `passes` backward passes add up.
  void begin_step(int passes = 1);
  /// Waits for the gradients, clips them, changes the parameters. Returns the global norm of the
  /// gradient before clipping, replicated and tied parameters counted once. When that is not
  /// finite, nothing has changed. Collective. Throws Error for a rate that is no number.
  double step() { return step(config_.lr); }
  double step(float lr);

  /// Waits for the gradients, for who steps the parameters from outside: through gradients(),
  /// full_precision(), publish_full_precision() and the next begin_step(). Collective.
  void reduce() { reducer_.finish(); }

  std::int64_t steps_done() const { return steps_done_; }
  /// Goes on from state that was brought here from another optimizer after so many steps: fill the
  /// tensors of parameters() and state() first.
  void resume_at(std::int64_t steps_done) { steps_done_ = steps_done; }
  /// Seconds that training has waited for communication of gradients and parameters.
  double seconds_waited() const { return reducer_.waits().seconds() + values_.waits().seconds(); }
  /// Called after each such wait from now on.
  void observe_waits(const WaitTimer::Observer& observer);
  /// This rank's communication buckets.
  const std::vector<Bucket>& buckets() const { return buckets_; }

  /// The training state by name, with layouts over the grid's world: parameters under their names;
  /// gradients likewise, valid between step()'s wait and the next backward pass; moments as NAME.m
  /// and NAME.v, full-precision copies as NAME.master.
  std::vector<LogicalTensor> parameters() const;
  std::vector<LogicalTensor> gradients() const;
  std::vector<LogicalTensor> state() const;

  /// Parameters in full precision, f32 or f64, as this rank updates them: its shards. Whoever
  /// changes them calls publish_full_precision() on all ranks before the next pass.
  std::vector<LogicalTensor> full_precision() const;
  void publish_full_precision();
  /// Whether weight decay acts on each of parameters(), in their order.
  std::vector<bool> decays() const;

  /// The name of the first parameter, or gradient, that holds a NaN or an infinity on this rank; ""
  /// when none does.
  std::string first_parameter_not_finite() const;
  std::string first_gradient_not_finite() const;

 private:
  // Of this rank's shard of a bucket.
  struct State {
    Tensor master;
    Tensor m;
    Tensor v;
  };
  // A part of a bucket's shard that counts in the gradient's norm on this rank.
  struct Counted {
    std::size_t bucket;
    std::int64_t begin, count;
  };
  BucketOptions cut() const {
    return bucket_options(options_, grid_.data().size(), grid_.shard().size());
  }
  bool is_divided() const { return options_.zero != Zero::stage0; }
  int shard() const { return is_divided() ? grid_.shard().rank() : 0; }
  Communicator* replicas() const { return is_divided() ? grid_.replicas() : nullptr; }
  void make_state(std::size_t bucket);
  void count_norm();
  double gradient_norm();
  void update(std::size_t bucket, const AdamWStep& step);
  template <typename Sharded, typename Part>
  std::vector<LogicalTensor> logical(Sharded sharded, Part part) const;
  std::string first_not_finite(std::span<const LogicalTensor> tensors) const;

  Gpt& model_;
  const Grid& grid_;
  AdamW config_;
  Options options_;
  std::vector<Bucket> buckets_;
  ParameterBuckets values_;
  GradientReducer reducer_;
  UnitPrefetcher prefetcher_;
  std::vector<State> states_;  // by bucket
  std::vector<Counted> counted_;
  std::int64_t steps_done_ = 0;
};

}  // namespace train
