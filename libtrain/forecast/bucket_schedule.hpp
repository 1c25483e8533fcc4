#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/forecast/training_shape.hpp"

namespace train {

/// Seconds of a step's parts. Empty lists stand for parts that take none.
struct StepTimes {
  std::vector<double> forward;   ///< by unit
  std::vector<double> again;     ///< by unit: computed again before it goes backward
  std::vector<double> backward;  ///< by layer
  std::vector<double> reduce;    ///< by bucket: a sum over the data ranks, or its shards
  std::vector<double> copies;    ///< by bucket: a sum over the copies of a shard
  std::vector<double> gather;    ///< by bucket: values from their shards
  std::vector<double> update;    ///< by bucket: of the optimizer
  double norm = 0.0;             ///< of the gradient
};

/// What buckets do in a step, event by event, as GradientReducer, ParameterBuckets and
/// UnitPrefetcher do it: which are in memory at once, and how long the computation stands still for
/// them. Collectives of the data group run one after another beside the computation.
class BucketSchedule {
 public:
  BucketSchedule(const ModelOutline& outline, const std::vector<Bucket>& buckets,
                 const TrainingShape& shape, const StepTimes& times = {});

  /// The most bytes of MemoryUse::communication at once.
  std::int64_t peak_bytes() const { return bytes_peak_; }
  /// Of the whole step.
  double seconds() const { return now_ + skipped_s_; }
  /// Of these, that the computation waited for the data group.
  double seconds_waited() const { return waited_ + skipped_waited_s_; }

 private:
  struct State {
    bool gradients = false;  // whole ones are in memory
    bool values = false;     // gathered ones
    std::size_t ready = 0;
    double sum_arrives = 0.0;
    double values_arrive = 0.0;
  };

  void pass(bool last);
  void forward(std::size_t unit);
  void backward(std::size_t unit);
  void layer_backward(std::size_t layer);
  void finish();
  void open(const Parameter* parameter);
  void ready(const Parameter* parameter);
  void start(std::size_t bucket);
  void retire(std::size_t under_way);
  void fetch(std::size_t unit);
  void fetch_before(std::size_t unit);
  void require(std::size_t unit);
  void release(std::size_t unit);

  bool frees() const { return shape_.optimizer.zero >= Zero::stage2; }
  bool fills(std::size_t bucket) const;
  double exchange(const std::vector<double>& seconds, std::size_t bucket);
  void wait_until(double time);
  void hold(std::int64_t bytes);

  const TrainingShape& shape_;
  const StepTimes& times_;
  const std::vector<Bucket>& buckets_;
  std::vector<ModelUnit> units_;
  std::vector<const Layer*> layers_;
  std::vector<std::size_t> first_layer_;            // by unit, and one behind the last
  std::vector<std::vector<std::size_t>> gathered_;  // buckets by unit
  std::unordered_map<const Parameter*, std::size_t> bucket_of_;
  std::vector<State> states_;
  std::deque<std::size_t> under_way_;
  std::size_t opened_last_ = 0;
  bool last_pass_ = true;

  double now_ = 0.0;
  double channel_free_ = 0.0;  // when the data group's last collective ends
  double copies_free_ = 0.0;   // the same among copies of shards
  double waited_ = 0.0;
  double skipped_s_ = 0.0, skipped_waited_s_ = 0.0;
  std::int64_t bytes_ = 0, bytes_peak_ = 0;
};

}  // namespace train
