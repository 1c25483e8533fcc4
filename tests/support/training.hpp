#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "libtrain/parallel/grid.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/tensor/philox.hpp"
#include "libtrain/trainer.hpp"
#include "tests/support/to_host.hpp"

/// Small training runs for tests: data that can be learned, and the losses of a run.
namespace training {

/// Tokens that follow a noisy pattern, so that a model learns something within a few steps.
class PatternSource final : public train::TokenSource {
 public:
  PatternSource(std::uint64_t size, std::int32_t vocabulary)
      : size_(size), vocabulary_(vocabulary) {}

  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return vocabulary_; }
  std::string name() const override { return "the pattern"; }
  std::string place(std::uint64_t position) const override {
    return "the pattern, token " + std::to_string(position);
  }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    const train::Philox random(11, "pattern");
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t position = begin + i;
      const std::uint32_t noise = random(0, position)[0];
      const auto regular = (position * position / 7 + position) % 13;
      out[i] = static_cast<std::int32_t>((noise % 4 == 0 ? noise / 4 : regular) % vocabulary_);
    }
  }

 private:
  std::uint64_t size_;
  std::int32_t vocabulary_;
};

/// Keeps what it is told.
class CollectingSink final : public train::MetricsSink {
 public:
  explicit CollectingSink(std::vector<train::StepRecord>& records) : records_(records) {}
  void write(const train::StepRecord& record) override { records_.push_back(record); }

 private:
  std::vector<train::StepRecord>& records_;
};

struct Run {
  train::GptConfig config;
  train::DataType type = train::DataType::f32;
  train::TrainerOptions trainer;
  train::AdamW adamw{.lr = 1e-2f};
  train::GridOptions grid;  // all ranks data-parallel
  bool sequence_parallel = true;
  std::optional<train::ParallelPlan> plan;  // Megatron's otherwise
  train::OptimizerOptions optimizer{
      .bucket_bytes = 4096, .resident_elements = 20};  // several buckets even for tiny models
  train::Recompute recompute = train::Recompute::none;
  int threads = 1;
  std::uint64_t data_tokens = 4000;
  std::function<void(train::Gpt&, std::int64_t step)> sample;  // every four steps, if there is one
  std::function<std::unique_ptr<train::Device>()> device;      // the CPU's with `threads` otherwise
};

inline train::GptConfig tiny_gpt2() {
  train::GptConfig config = train::parse_model("layers=2,heads=2,width=16,context=8");
  config.vocabulary = 32;
  return config;
}

inline train::GptConfig tiny_llama() {
  train::GptConfig config =
      train::parse_model("llama,layers=2,heads=4,kv_heads=2,width=16,hidden=24,context=8");
  config.vocabulary = 32;
  return config;
}

inline Run run_of(const train::GptConfig& config, std::int64_t steps, std::int64_t batch) {
  Run run;
  run.config = config;
  run.trainer.steps = steps;
  run.trainer.batch = batch;
  run.trainer.schedule.lr = run.adamw.lr;
  run.trainer.schedule.min_lr = run.adamw.lr / 10.0f;
  run.trainer.schedule.warmup_steps = 5;
  run.trainer.measure_mfu = false;
  return run;
}

struct Outcome {
  std::vector<train::StepRecord> records;  // on rank 0
  std::vector<float> parameters;           // all, one behind another; f32 models only
};

/// Trains on the ranks of `world`. Collective.
inline Outcome train_on(train::Communicator& world, const Run& run) {
  const train::Grid grid(world, run.grid,
                         run.device ? run.device() : train::make_cpu_device(run.threads));
  train::Gpt model(run.config, grid.device(), {run.type, 1, run.recompute});
  train::parallelize(model, grid,
                     run.plan ? *run.plan : train::megatron_plan(run.sequence_parallel));
  train::ShardedOptimizer optimizer(model, grid, run.adamw, run.optimizer);
  train::TokenDataset data(std::make_shared<PatternSource>(run.data_tokens, run.config.vocabulary),
                           {.validation_fraction = 0.1});
  train::Trainer trainer(grid, model, optimizer, data, run.trainer);
  Outcome outcome;
  if (grid.rank() == 0) {
    trainer.add_sink(std::make_unique<CollectingSink>(outcome.records));
  }
  if (run.sample) trainer.sample_every(4, [&](auto step) { run.sample(model, step); });
  trainer.run();
  // Whole ones only: others are gathered by those who ask.
  if (run.type != train::DataType::f32 || grid.tensor().size() > 1 ||
      optimizer.zero() == train::Zero::stage3) {
    return outcome;
  }
  for (const auto& parameter : model.parameters()) {
    const std::vector<float> values = train::test::to_host(parameter->value());
    outcome.parameters.insert(outcome.parameters.end(), values.begin(), values.end());
  }
  return outcome;
}

inline double largest_relative_difference(const Outcome& a, const Outcome& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.records.size(); ++i) {
    const double difference = std::abs(a.records[i].loss - b.records[i].loss);
    largest = std::max(largest, difference / std::abs(a.records[i].loss));
  }
  return largest;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

}  // namespace training
