// Grids of GPUs beside one processor: data, context and tensor parallelism, every stage of ZeRO,
// over emulated devices and an emulated NCCL, whose streams run on their own as a GPU's do.
#include <cmath>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "tests/gpu/emulated/nccl/faults.hpp"
#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/support/training.hpp"

using namespace train;

namespace {

struct Case {
  int data = 1;
  int context = 1;
  int tensor = 1;
  Zero zero = Zero::stage0;
  bool sequence_parallel = true;
  DataType gradient_type = DataType::f32;
  int shard = 0;
};

training::Run run_of(const GptConfig& config, DataType type) {
  training::Run run = training::run_of(config, 5, 12);
  run.trainer.micro_batch = 2;
  run.type = type;
  return run;
}

training::Outcome on_cpu(const training::Run& run) {
  training::Outcome outcome;
  local::run(1, [&](Communicator& world) { outcome = training::train_on(world, run); });
  return outcome;
}

training::Outcome on_gpus(training::Run run, const Case& c, int first_gpu = 0) {
  run.grid.data = c.data;
  run.grid.context = c.context;
  run.grid.tensor = c.tensor;
  run.grid.shard = c.shard;
  run.sequence_parallel = c.sequence_parallel;
  run.optimizer.zero = c.zero;
  run.optimizer.gradient_type = c.gradient_type;
  training::Outcome outcome;
  local::run(c.data * c.context * c.tensor, [&](Communicator& world) {
    training::Run own = run;
    own.device = [&] { return make_cuda_device(first_gpu + world.rank()); };
    const auto found = training::train_on(world, own);
    if (world.rank() == 0) outcome = found;
  });
  return outcome;
}

void check_case(const training::Run& run, const training::Outcome& cpu, const Case& c,
                double tolerance) {
  CAPTURE(c.data);
  CAPTURE(c.context);
  CAPTURE(c.tensor);
  CAPTURE(static_cast<int>(c.zero));
  CAPTURE(c.sequence_parallel);
  const auto gpus = on_gpus(run, c);
  REQUIRE(gpus.records.size() == cpu.records.size());
  CHECK(training::largest_relative_difference(gpus, cpu) < tolerance);
}

constexpr Zero stages[] = {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};

}  // namespace

TEST_CASE("every grid of GPUs and every stage trains as a processor does") {
  const auto run = run_of(training::tiny_gpt2(), DataType::f32);
  const auto cpu = on_cpu(run);
  for (const Zero zero : stages) {
    check_case(run, cpu, {.data = 2, .zero = zero}, 1e-4);
    check_case(run, cpu, {.tensor = 2, .zero = zero}, 1e-4);
    check_case(run, cpu, {.data = 2, .tensor = 2, .zero = zero}, 1e-4);
  }
  CHECK(emulated::nccl_live() == 0);
}

TEST_CASE("shares that differ, whole rows, Llama") {
  const auto run = run_of(training::tiny_llama(), DataType::f32);
  const auto cpu = on_cpu(run);
  check_case(run, cpu, {.data = 3, .zero = Zero::stage3}, 1e-4);
  check_case(run, cpu, {.data = 4, .zero = Zero::stage2, .shard = 2}, 1e-4);
  check_case(run, cpu, {.context = 3, .zero = Zero::stage1}, 1e-4);
  check_case(run, cpu, {.data = 2, .context = 2, .zero = Zero::stage3}, 1e-4);
  check_case(run, cpu, {.context = 2, .tensor = 2, .zero = Zero::stage2}, 1e-4);
  check_case(run, cpu, {.tensor = 3, .zero = Zero::stage1}, 1e-4);
  check_case(run, cpu, {.tensor = 2, .sequence_parallel = false}, 1e-4);
  check_case(run, cpu, {.data = 2, .tensor = 2, .zero = Zero::stage2, .sequence_parallel = false},
             1e-4);
}

TEST_CASE("shares of an odd vocabulary") {
  GptConfig config = training::tiny_gpt2();
  config.vocabulary = 77;
  const auto run = run_of(config, DataType::f32);
  const auto cpu = on_cpu(run);
  check_case(run, cpu, {.tensor = 2}, 1e-4);
  check_case(run, cpu, {.tensor = 3}, 1e-4);
  const auto half = run_of(config, DataType::bf16);
  check_case(half, on_cpu(half), {.tensor = 2}, 1e-2);
}

TEST_CASE("bf16 on a grid of GPUs stays near the processor") {
  const auto run = run_of(training::tiny_gpt2(), DataType::bf16);
  const auto cpu = on_cpu(run);
  check_case(run, cpu, {.data = 2, .zero = Zero::stage2, .gradient_type = DataType::bf16}, 1e-2);
  check_case(run, cpu, {.data = 2, .tensor = 2, .zero = Zero::stage3}, 1e-2);
  check_case(run, cpu, {.data = 2, .context = 2, .zero = Zero::stage1}, 1e-2);
}

TEST_CASE("ranks open no other GPU than their own") {
  const auto run = run_of(training::tiny_gpt2(), DataType::f32);
  emulated::forget_opened();
  on_gpus(run, {.data = 2, .tensor = 2, .zero = Zero::stage3}, 1);
  CHECK_FALSE(emulated::is_open(0));
  for (int gpu = 1; gpu <= 4; ++gpu) CHECK(emulated::is_open(gpu));
  CHECK_FALSE(emulated::is_open(5));
}

TEST_CASE("the same grid gives the same bits") {
  const auto run = run_of(training::tiny_gpt2(), DataType::f32);
  for (const Case& c : {Case{.data = 3, .zero = Zero::stage1}, Case{.context = 3}}) {
    CHECK(training::same_bits(on_gpus(run, c).parameters, on_gpus(run, c).parameters));
  }
}
