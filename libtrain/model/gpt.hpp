#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "libtrain/model/batch.hpp"
#include "libtrain/model/block.hpp"
#include "libtrain/model/gpt_config.hpp"
#include "libtrain/model/key_value_cache.hpp"
#include "libtrain/model/unit_observer.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

/// A batch's loss and the way back from it.
class Loss {
 public:
  /// The rows' sum times `scale`.
  Loss(RowLosses rows, float scale, std::unique_ptr<Tape> tape)
      : rows_(std::move(rows)), scale_(scale), tape_(std::move(tape)) {}

  /// This batch's share of the mean cross-entropy per token, in nats. The first call waits for the
  /// device to come so far: late is better than between forward and backward pass.
  double value() const;
  /// Adds to the gradients of all parameters. Once per loss.
  void backward();

 private:
  mutable RowLosses rows_;  // gone once read, with the memory that they hold
  mutable double value_ = 0.0;
  float scale_;
  std::unique_ptr<Tape> tape_;
};

/// A decoder-only transformer, written as if for one device: GPT-2 style and Llama style by
/// configuration. Knows nothing of other ranks: an Execution that parallelize() sets does.
class Gpt {
 public:
  struct Options {
    DataType type = DataType::f32;  ///< of parameters and activations
    std::uint64_t seed = 1;         ///< of initial weights and dropout
    Recompute recompute = Recompute::none;
  };

  Gpt(GptConfig config, Device& device) : Gpt(config, device, Options{}) {}
  Gpt(GptConfig config, Device& device, Options options);
  Gpt(const Gpt&) = delete;
  Gpt& operator=(const Gpt&) = delete;

  const GptConfig& config() const { return config_; }
  const Options& options() const { return options_; }
  Device& device() const { return device_; }
  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_.all(); }
  Parameter* find_parameter(const std::string& name) const { return parameters_.find(name); }
  /// In the order in which they run.
  std::deque<Layer>& layers() { return parameters_.layers(); }
  /// What runs one after another: embedding, blocks, final norm, head.
  std::vector<ModelUnit> units() const;

  /// Runs the layers from now on.
  void set_execution(std::shared_ptr<const Execution> execution);
  const Execution& execution() const { return *execution_; }
  /// Observers must outlive their stay.
  void add_observer(UnitObserver& observer) { observers_.push_back(&observer); }
  void remove_observer(UnitObserver& observer) { std::erase(observers_, &observer); }

  /// Forward pass for training, to be followed by backward(): the head's gradient is written here
  /// already (see linear_cross_entropy). One loss at a time: it goes backward, or is gone, before
  /// the next; one that is dropped leaves that part behind, until the optimizer's begin_step().
  /// evaluate() gives the number alone. Throws Error when a token is not in the vocabulary.
  Loss loss(const Batch& batch);
  /// The same number without dropout and without a way back. Where context ranks share the rows,
  /// both are this rank's part of it: their sum is the batch's.
  double evaluate(const Batch& batch);
  /// Of each token, in nats; 0 where the target is negative. Without dropout and a way back.
  std::vector<double> token_losses(const Batch& batch);
  /// Logits f32 [sequences · context, vocabulary] of all positions.
  Tensor logits(const Batch& batch);
  /// Generation: `tokens` holds the same count of new tokens for each of the cache's sequences.
  /// Returns the logits [sequences, vocabulary] after the last one. Every rank that shares the
  /// model holds all rows: new tokens are too few to share.
  Tensor extend(std::span<const std::int32_t> tokens, KeyValueCache& cache);

  /// For generation of so many sequences at once, of up to `capacity` tokens: all of the context
  /// unless that is less.
  KeyValueCache new_cache(std::int64_t sequences,
                          std::int64_t capacity = std::numeric_limits<std::int64_t>::max()) const;

  /// Called in the backward pass as soon as a parameter's gradient of this pass is complete.
  void on_gradient_ready(std::function<void(Parameter&)> hook) { ready_hook_ = std::move(hook); }
  bool has_gradient_hook() const { return ready_hook_ != nullptr; }

  /// Runs the batch forward and returns the name of the first layer whose output is not finite,
  /// "" when all are.
  std::string first_output_not_finite(const Batch& batch);

 private:
  Value hidden(Tape& tape, const Batch& batch) const;
  RowLosses head_loss(Tape& tape, const Batch& batch, float scale);
  Tensor head_logits(const Execution& execution, Tape& tape, const Value& x,
                     std::int64_t rows) const;
  void check_tokens(std::span<const std::int32_t> tokens, const char* what) const;
  const Execution& generation_execution() const;
  HeadRange local_heads(const Execution& execution) const;
  ForwardContext forward_context(const Execution& execution, std::int64_t sequences,
                                 std::int64_t context) const;
  template <typename Forward>
  auto in_unit(Tape& tape, std::size_t unit, Forward forward) const;
  std::size_t norm_unit() const { return blocks_.size() + 1; }
  std::size_t head_unit() const { return blocks_.size() + 2; }

  GptConfig config_;
  Options options_;
  Device& device_;
  std::shared_ptr<const Execution> execution_;
  std::shared_ptr<const Execution> whole_rows_;  // of generation, if execution_ splits rows
  ParameterSet parameters_;
  Layer& embedding_;
  std::deque<TransformerBlock> blocks_;  // which stay where they are
  NormLayer final_norm_;
  Layer& head_;
  std::function<void(Parameter&)> ready_hook_;
  std::vector<UnitObserver*> observers_;
};

}  // namespace train
