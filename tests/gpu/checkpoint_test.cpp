// Checkpoints know nothing of devices: what one kind saved, the other goes on with.
#include <doctest/doctest.h>

#include "libtrain/checkpoint/training_checkpoints.hpp"
#include "tests/support/checkpoints.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using checkpoints::SharedDirectory;
using training::Outcome;
using training::Run;

namespace {

using MakeDevice = std::unique_ptr<Device> (*)(int rank);

std::unique_ptr<Device> on_cpu(int) {
  return make_cpu_device(1);
}

std::unique_ptr<Device> on_gpu(int rank) {
  return make_cuda_device(rank % count_cuda_devices());
}

// Trains to `stop_at` and saves there, from the newest checkpoint if there is one.
void train_piece(Communicator& world, Run run, MakeDevice make, CheckpointStore& store,
                 std::int64_t stop_at, Outcome& outcome) {
  run.trainer.stop_at = stop_at;
  const Grid grid(world, run.grid, make(world.rank()));
  const auto saved = find_resume_point(store, world, {});
  Gpt model(run.config, grid.device(), {run.type, 1, run.recompute});
  parallelize(model, grid, megatron_plan());
  ShardedOptimizer optimizer(model, grid, run.adamw, run.optimizer);
  TokenDataset data(std::make_shared<training::PatternSource>(4000, run.config.vocabulary), {});
  Trainer trainer(grid, model, optimizer, data, run.trainer);
  TrainingCheckpoints checkpoints(
      store, world, optimizer, {.config = run.config, .tokenizer = nullptr, .seed = 1, .more = {}},
      5, {});
  if (saved) trainer.resume_at(checkpoints.resume({}).value().place);
  trainer.set_checkpoints(checkpoints);
  if (world.rank() == 0) {
    trainer.add_sink(std::make_unique<training::CollectingSink>(outcome.records));
  }
  trainer.run();
}

Outcome train_in_turns(Communicator& world, const Run& run, MakeDevice first, MakeDevice then) {
  SharedDirectory directory(world);
  CheckpointStore store(directory / "run");
  Outcome outcome;
  train_piece(world, run, first, store, 5, outcome);
  train_piece(world, run, then, store, 10, outcome);
  return outcome;
}

void check(Communicator& world, Run run) {
  const Outcome whole = train_in_turns(world, run, on_cpu, on_cpu);
  for (const auto& [first, then] : {std::pair{&on_cpu, &on_gpu}, std::pair{&on_gpu, &on_cpu}}) {
    const Outcome mixed = train_in_turns(world, run, first, then);
    REQUIRE(mixed.records.size() == whole.records.size());
    CHECK(training::largest_relative_difference(whole, mixed) < 1e-4);
  }
}

}  // namespace

TEST_CASE("a run goes on on another kind of device, from CPU to GPU and back") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 10, 4);
    check(world, run);
    run.optimizer.zero = Zero::stage3;
    check(world, run);
  });
}
