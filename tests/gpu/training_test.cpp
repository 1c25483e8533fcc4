// Whole trainings on a CUDA device beside the CPU's: the same initial weights, data and dropout
// masks, so that losses differ by rounding alone.

#include "tests/support/training.hpp"

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/model/generator.hpp"

using namespace train;

namespace {

constexpr std::int64_t steps = 8;

training::Outcome outcome_of(training::Run run, bool cuda) {
  if (cuda) run.device = [] { return make_cuda_device(0); };
  training::Outcome outcome;
  local::run(1, [&](Communicator& world) { outcome = training::train_on(world, run); });
  return outcome;
}

void check_beside_cpu(const training::Run& run, double tolerance) {
  const training::Outcome cuda = outcome_of(run, true);
  const training::Outcome cpu = outcome_of(run, false);
  REQUIRE(cuda.records.size() == static_cast<std::size_t>(steps));
  REQUIRE(cpu.records.size() == cuda.records.size());
  CHECK(training::largest_relative_difference(cuda, cpu) < tolerance);
  CHECK(cuda.records.back().loss < cuda.records.front().loss);
}

training::Run run_of(GptConfig config, DataType type) {
  training::Run run = training::run_of(config, steps, 8);
  run.trainer.micro_batch = 4;
  run.type = type;
  return run;
}

std::vector<std::int32_t> text_of(Device& device, const GptConfig& config) {
  Gpt model(config, device, {DataType::f32, 5});
  Generator generator(model, {.temperature = 0.0f});
  generator.begin(std::vector<std::int32_t>{1, 2, 3});
  std::vector<std::int32_t> text;
  for (int i = 0; i < 12; ++i) text.push_back(generator.next());
  return text;
}

}  // namespace

TEST_CASE("a training in f32 follows the CPU's") {
  check_beside_cpu(run_of(training::tiny_gpt2(), DataType::f32), 1e-4);
  check_beside_cpu(run_of(training::tiny_llama(), DataType::f32), 1e-4);
}

TEST_CASE("a training in bf16 follows the CPU's") {
  check_beside_cpu(run_of(training::tiny_gpt2(), DataType::bf16), 1e-2);
  check_beside_cpu(run_of(training::tiny_llama(), DataType::bf16), 1e-2);
}

// A GPU pads the rows of such logits, and of none of the tests above in f32.
TEST_CASE("a training with an odd vocabulary follows the CPU's") {
  GptConfig config = training::tiny_gpt2();
  config.vocabulary = 77;
  check_beside_cpu(run_of(config, DataType::f32), 1e-4);
  check_beside_cpu(run_of(config, DataType::bf16), 1e-2);
}

TEST_CASE("dropout drops on a GPU what it drops on the CPU") {
  GptConfig config = training::tiny_gpt2();
  config.dropout = 0.2f;
  check_beside_cpu(run_of(config, DataType::f32), 1e-4);
}

TEST_CASE("recomputed activations change no bit") {
  training::Run run = run_of(training::tiny_llama(), DataType::f32);
  const training::Outcome kept = outcome_of(run, true);
  run.recompute = Recompute::block;
  const training::Outcome again = outcome_of(run, true);
  CHECK(training::same_bits(kept.parameters, again.parameters));
}

TEST_CASE("two trainings give the same bits") {
  const training::Run run = run_of(training::tiny_gpt2(), DataType::f32);
  CHECK(training::same_bits(outcome_of(run, true).parameters, outcome_of(run, true).parameters));
}

TEST_CASE("a model says the same on a GPU as on the CPU") {
  const auto cuda = make_cuda_device(0), cpu = make_cpu_device(1);
  for (const GptConfig& config : {training::tiny_gpt2(), training::tiny_llama()}) {
    CHECK(text_of(*cuda, config) == text_of(*cpu, config));
  }
}
