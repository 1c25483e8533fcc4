#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libtrain/checkpoint/training_checkpoints.hpp"
#include "libtrain/choice_accuracy.hpp"
#include "libtrain/data/token_dataset.hpp"
#include "libtrain/metrics/sink.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/schedule.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/grid.hpp"
#include "libtrain/rounds/rounds.hpp"
#include "libtrain/step_trace.hpp"

namespace train {

struct TrainerOptions {
  std::int64_t steps = 1000;        ///< the whole run; the schedule ends there
  std::int64_t stop_at = 0;         ///< end after this step without changing the schedule; 0: steps
  std::int64_t batch = 64;          ///< sequences per step over all ranks (of this cluster)
  std::int64_t micro_batch = 0;     ///< most sequences per rank and pass; 0: all that a rank has
  Schedule schedule;                ///< `steps` above overrides its own
  std::int64_t eval_every = 0;      ///< steps between evaluations; 0: after the last step only
  std::int64_t eval_sequences = 0;  ///< held-out sequences of an evaluation; 0: all
  bool measure_mfu = true;          ///< measure the processor's peak once, at the start
};

/// Losses on held-out sequences.
struct Evaluation {
  double loss = 0.0;
  std::vector<SourceLoss> sources;  ///< of a mixture
};

/// The loop: batches, backward passes, steps, evaluation, metrics. The same data, losses and
/// parameters on any count of ranks, up to rounding.
class Trainer {
 public:
  /// Gives the dataset the model's context and vocabulary. A batch need not divide by the ranks,
  /// nor a rank's share by the micro-batch: passes are of equal size, and rows that are over are
  /// empty.
  /// Collective; throws Error on every rank when the ranks were given different options or data.
  Trainer(const Grid& grid, Gpt& model, ShardedOptimizer& optimizer, TokenDataset& data,
          TrainerOptions options);

  /// Where step records go; called on rank 0 only.
  void add_sink(std::unique_ptr<MetricsSink> sink) { sinks_.push_back(std::move(sink)); }

  /// Draws the first `steps` steps of run() and writes the trace after them.
  void add_trace(std::unique_ptr<Trace> trace, std::int64_t steps);

  /// Goes in step with other clusters: their job says what is trained, and when it is over.
  /// `rounds` must outlive run(). Collective.
  void set_rounds(Rounds& rounds);

  /// Evaluations answer these questions, too.
  void set_choices(ChoiceAccuracy choices) { choices_ = std::move(choices); }

  /// Saves between steps from now on. `checkpoints` must outlive run().
  void set_checkpoints(TrainingCheckpoints& checkpoints) { checkpoints_ = &checkpoints; }
  /// Goes on at this place of the sample order, whatever batches it was reached in; the optimizer
  /// knows the step.
  void resume_at(const DataPlace& place) { resumed_at_ = place; }
  /// Asked on every rank after each step: where it is true on any, that step is the last one. What
  /// is due after a last step is saved, and nothing is evaluated. Alone, without set_rounds().
  void stop_when(std::function<bool()> stop) { stop_ = std::move(stop); }
  /// Calls sample(step) on every rank after each so many steps, and after the last one, behind its
  /// evaluation: it may run the model, and must change nothing.
  void sample_every(std::int64_t steps, std::function<void(std::int64_t step)> sample);
  /// Whether run() ended because of stop_when().
  bool stopped() const { return stopped_; }

  /// Tokens of a sequence.
  std::int64_t context() const { return context_; }

  /// Trains to the last step, or until this cluster leaves its job. Throws Error, the same on every
  /// rank, when a loss, a gradient, or the last step's parameters are not finite, with the step and
  /// the first tensor that went wrong; and CutOff, with what the job had made saved.
  void run();

  /// Mean loss over the held-out sequences; nothing when there are none. Of a mixture each source's
  /// mean, and theirs by weight (see TokenDataset::validation); eval_sequences are shared out by
  /// weight, too, and each source gets at least one. Collective.
  std::optional<Evaluation> evaluate();

 private:
  void require_same_run() const;
  std::optional<Turn> next_turn();
  bool stop_wanted();
  StepRecord train_step(const Turn& turn);
  void finish_record(StepRecord& record, bool last);
  bool is_due(std::int64_t every, std::int64_t step, bool last) const;
  void finish_trace();
  double seconds_waited() const;
  std::vector<Loss> run_passes(const Turn& turn);
  Loss run_forward(const Batch& batch);
  double step_optimizer(float lr);
  double mean_loss(std::uint64_t begin, std::uint64_t available, std::int64_t wanted);
  Batch load(std::span<const std::uint64_t> positions, std::int64_t first);
  std::int64_t tokens_so_far() const;
  double sum_over_ranks(double value);
  [[noreturn]] void stop_not_finite(std::int64_t step, double loss, double norm);
  std::string first_not_finite();
  void require_finite_parameters(std::int64_t step);
  void require_finite_evaluation(std::int64_t step, double loss) const;
  void measure_peak();

  const Grid& grid_;
  Gpt& model_;
  ShardedOptimizer& optimizer_;
  TokenDataset& data_;
  TrainerOptions options_;
  std::int64_t last_step_;
  std::int64_t context_;
  std::int64_t passes_;  // of a step, on each rank
  std::vector<std::unique_ptr<MetricsSink>> sinks_;
  std::vector<std::int32_t> inputs_;
  std::vector<std::int32_t> targets_;
  std::int64_t next_step_ = 0;  // without rounds, as the next three
  std::uint64_t next_sequence_ = 0;
  std::uint64_t first_sequence_ = 0;  // of this run
  std::optional<DataPlace> resumed_at_;
  std::function<bool()> stop_;
  std::int64_t sample_every_ = 0;
  std::function<void(std::int64_t)> sample_;
  bool stopped_ = false;
  std::exception_ptr gave_up_;  // on the coordinator: thrown once the job's state is saved
  Batch batch_;                 // the last one that was loaded
  Rounds* rounds_ = nullptr;
  TrainingCheckpoints* checkpoints_ = nullptr;
  std::optional<ChoiceAccuracy> choices_;
  std::unique_ptr<Trace> trace_;
  std::unique_ptr<StepTrace> step_trace_;
  std::int64_t trace_steps_ = 0;
  double peak_flops_ = 0.0;
  double reduce_seconds_ = 0.0;
};

}  // namespace train
