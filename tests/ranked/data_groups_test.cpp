// Grids whose data ranks form groups: those that shards lie on, and those that share sequences.

#include <doctest/doctest.h>

#include "libtrain/model/generator.hpp"
#include "tests/support/against_one_rank.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using training::check_against_one_rank;
using training::grids_with_replicas;
using training::Run;
using training::stages;

namespace {

// All ranks as data x context x tensor, where ranks share sequences.
std::vector<GridOptions> grids_with_context(int ranks) {
  std::vector<GridOptions> grids;
  for (int context = 2; context <= ranks; ++context) {
    for (int tensor = 1; context * tensor <= ranks; ++tensor) {
      if (ranks % (context * tensor) != 0) continue;
      grids.push_back({.data = ranks / (context * tensor), .context = context, .tensor = tensor});
    }
  }
  return grids;
}

}  // namespace

TEST_CASE("shard groups that hold copies train as one rank does, at every stage") {
  ranked([](Communicator& world) {
    const auto grids = grids_with_replicas(world.size());
    Run run = training::run_of(training::tiny_gpt2(), 10, 12);
    check_against_one_rank(world, run, grids, stages);
    run.trainer.micro_batch = 1;
    check_against_one_rank(world, run, grids, std::span(stages).subspan(1));
  });
}

TEST_CASE("ranks that share sequences by their rows train as one rank does") {
  ranked([](Communicator& world) {
    const auto grids = grids_with_context(world.size());
    Run run = training::run_of(training::tiny_gpt2(), 10, 12);
    check_against_one_rank(world, run, grids, std::span(stages).subspan(1, 1));
    // Few key and value heads, several sequences in a pass, masks; and what must not divide.
    run = training::run_of(training::tiny_llama(), 10, 12);
    run.config.dropout = 0.3f;
    run.recompute = Recompute::attention;
    run.trainer.micro_batch = 2;
    check_against_one_rank(world, run, grids, std::span(stages).subspan(2, 1));
    run.config = training::odd_sizes();
    run.config.dropout = 0.3f;
    run.recompute = Recompute::block;
    run.trainer.micro_batch = 1;
    check_against_one_rank(world, run, grids, std::span(stages).subspan(3));
    run.sequence_parallel = false;
    check_against_one_rank(world, run, grids, std::span(stages).first(1));
  });
}

TEST_CASE("fewer rows than ranks that share them") {
  ranked([](Communicator& world) {
    GptConfig config = training::tiny_gpt2();
    config.context = 2;
    Run run = training::run_of(config, 10, 1);
    run.trainer.eval_sequences = 3;
    const auto grids = grids_with_context(world.size());
    check_against_one_rank(world, run, grids, std::span(stages).subspan(3));
  });
}

TEST_CASE(
    "ranks that share sequences write text that is one rank's, and learn the same to the bit") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::odd_sizes(), 6, 12);
    std::vector<std::int32_t> text;
    const auto write = [&text](Gpt& model, std::int64_t) {
      Generator generator(model, {});
      generator.begin(std::vector<std::int32_t>{1});
      for (int i = 0; i < 12; ++i) text.push_back(generator.next());
    };
    run.sample = write;
    training::train_alone(world, run);
    const std::vector<std::int32_t> alone = std::exchange(text, {});
    for (const GridOptions& grid : grids_with_context(world.size())) {
      CAPTURE(grid.context);
      CAPTURE(grid.tensor);
      run.grid = grid;
      run.optimizer.zero = Zero::stage3;
      run.sample = write;
      const auto writing = training::train_on(world, run);
      CHECK(std::exchange(text, {}) == alone);
      run.sample = {};
      const auto silent = training::train_on(world, run);
      for (std::size_t i = 0; i < silent.records.size(); ++i) {
        CHECK(writing.records[i].loss == silent.records[i].loss);
        CHECK(writing.records[i].val_loss == silent.records[i].val_loss);
      }
    }
  });
}

TEST_CASE("bf16 learns as one rank does where ranks share sequences") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 10, 12);
    run.type = DataType::bf16;
    const auto alone = training::train_alone(world, run);
    for (const GridOptions& grid : grids_with_context(world.size())) {
      run.grid = grid;
      run.optimizer.zero = Zero::stage2;
      const auto together = training::train_on(world, run);
      if (world.rank() != 0) continue;
      CHECK(together.records.back().loss ==
            doctest::Approx(alone.records.back().loss).epsilon(0.02));
    }
  });
}

TEST_CASE("a model that is not laid out for its grid is refused") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    for (const bool context : {false, true}) {
      const int n = world.size();
      const Grid grid(world, {.context = context ? n : 1, .tensor = context ? 1 : n},
                      make_cpu_device(1));
      Gpt model(training::tiny_gpt2(), grid.device());
      CHECK_THROWS_WITH_AS(ShardedOptimizer(model, grid, {}),
                           doctest::Contains("call parallelize(model, grid, plan) first"), Error);
    }
  });
}
