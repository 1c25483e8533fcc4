// What must hold on any grid beside plain training: dropout, passes that add up, bf16, sizes that
// do not divide, padding, saved weights, and state that moves from one grid to another.

#include <cmath>
#include <cstring>
#include <limits>

#include <doctest/doctest.h>

#include "libtrain/checkpoint/weights.hpp"
#include "libtrain/model/generator.hpp"
#include "libtrain/parallel/gather.hpp"
#include "libtrain/parallel/redistribute.hpp"
#include "tests/support/against_one_rank.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/training.hpp"

using namespace train;
using train::test::read_file;
using train::test::ScratchDirectory;
using training::check_against_one_rank;
using training::grids_of;
using training::grids_with_replicas;
using training::odd_sizes;
using training::Outcome;
using training::Run;
using training::stages;
using training::train_alone;

namespace {

// Of 8 tokens each, all the same.
Batch two_sequences() {
  static const std::vector<std::int32_t> tokens(16, 3);
  Batch batch;
  batch.inputs = batch.targets = tokens;
  batch.sequences = 2;
  batch.context = 8;
  return batch;
}

// On all grids of the ranks, at the given stages.
void check_against_one_rank(Communicator& world, const Run& run, std::span<const Zero> at) {
  check_against_one_rank(world, run, grids_of(world.size()), at);
}

}  // namespace

TEST_CASE("dropout masks do not depend on the grid") {
  ranked([](Communicator& world) {
    for (GptConfig config : {training::tiny_gpt2(), training::tiny_llama()}) {
      config.dropout = 0.3f;
      Run run = training::run_of(config, 10, 12);
      run.recompute = Recompute::attention;
      check_against_one_rank(world, run, std::span(stages).subspan(1, 1));
    }
  });
}

TEST_CASE("gradients of several passes add up at every stage") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 10, 12);
    run.trainer.micro_batch = 1;
    check_against_one_rank(world, run, stages);
  });
}

TEST_CASE("sizes that do not divide by the ranks, a tied head in Llama's style") {
  ranked([](Communicator& world) {
    Run run = training::run_of(odd_sizes(), 10, 12);
    check_against_one_rank(world, run, stages);
    run.sequence_parallel = false;
    check_against_one_rank(world, run, std::span(stages).first(1));
  });
}

TEST_CASE("ranks without a row of the batch add nothing to its gradients") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 10, 1);
    run.config.context = 1;
    std::vector<GridOptions> grids{{.data = 1, .context = world.size(), .tensor = 1}};
    if (world.size() % 2 == 0) {
      grids.push_back({.data = 1, .context = world.size() / 2, .tensor = 2});
    }
    check_against_one_rank(world, run, grids, stages);
  });
}

TEST_CASE("bf16 with full-precision copies learns as one rank does, with gradients of both types") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 30, 12);
    run.type = DataType::bf16;
    const Outcome alone = train_alone(world, run);
    for (const DataType gradients : {DataType::f32, DataType::bf16}) {
      run.optimizer.gradient_type = gradients;
      for (const GridOptions& grid : grids_of(world.size())) {
        run.grid = grid;
        run.optimizer.zero = Zero::stage3;
        const Outcome together = training::train_on(world, run);
        if (world.rank() != 0) continue;
        CHECK(together.records.back().loss ==
              doctest::Approx(alone.records.back().loss).epsilon(0.02));
      }
    }
  });
}

TEST_CASE("a plan without splits, and one that splits the MLP alone") {
  ranked([](Communicator& world) {
    const Run run = training::run_of(training::tiny_gpt2(), 5, 12);
    const Outcome alone = train_alone(world, run);
    for (const bool mlp : {false, true}) {
      for (const bool sequence_parallel : {false, true}) {
        Run changed = run;
        changed.plan = {{{"*norm", Split::replicated},
                         {"token_embedding", Split::replicated},
                         {"blocks.*.attention.*", Split::replicated},
                         {"blocks.*.mlp.up", mlp ? Split::column : Split::replicated},
                         {"blocks.*.mlp.down", mlp ? Split::row : Split::replicated},
                         {"head", Split::replicated}},
                        sequence_parallel};
        changed.grid = {.data = 1, .tensor = world.size()};
        const Outcome together = training::train_on(world, changed);
        if (world.rank() != 0) continue;
        CHECK(training::largest_relative_difference(alone, together) < 1e-5);
      }
    }
  });
}

TEST_CASE("padding targets cost and teach nothing on any grid") {
  ranked([](Communicator& world) {
    const auto loss_and_norm = [](Communicator& ranks, int tensor) {
      const Grid grid(ranks, {.tensor = tensor}, make_cpu_device(1));
      Gpt model(training::tiny_gpt2(), grid.device());
      parallelize(model, grid, megatron_plan());
      ShardedOptimizer optimizer(model, grid, {});
      std::vector<std::int32_t> tokens(16, 3);
      std::vector<std::int32_t> targets(16, -1);
      targets[5] = 31;
      Batch batch;
      batch.inputs = tokens;
      batch.targets = targets;
      batch.sequences = 2;
      batch.context = 8;
      batch.tokens_in_step = 16 * (ranks.size() / tensor);
      Loss loss = model.loss(batch);
      loss.backward();
      return std::pair(loss.value() * (ranks.size() / tensor), optimizer.step());
    };
    const auto self = world.split(world.rank(), 0, "self");
    const auto alone = loss_and_norm(*self, 1);
    for (const GridOptions& grid : grids_of(world.size())) {
      const auto together = loss_and_norm(world, grid.tensor);
      CHECK(together.first == doctest::Approx(alone.first).epsilon(1e-5));
      CHECK(together.second == doctest::Approx(alone.second).epsilon(1e-5));
    }
  });
}

TEST_CASE("a loss that is never taken backward leaves no trace in the next step") {
  ranked([](Communicator& world) {
    const auto losses = [&](bool drop) {
      const Grid grid(world, {}, make_cpu_device(1));
      Gpt model(training::tiny_gpt2(), grid.device());
      ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f},
                                 {.zero = Zero::stage3, .resident_elements = 0});
      const Batch batch = two_sequences();
      std::vector<double> values;
      for (int step = 0; step < 3; ++step) {
        if (drop) static_cast<void>(model.loss(batch));
        optimizer.begin_step();
        Loss loss = model.loss(batch);
        loss.backward();
        if (drop) static_cast<void>(model.loss(batch));
        optimizer.step();
        values.push_back(loss.value());
      }
      return values;
    };
    CHECK(losses(true) == losses(false));
  });
}

TEST_CASE("a step whose gradients are not finite is as if it had not been") {
  ranked([](Communicator& world) {
    const auto losses = [&](Zero zero, bool spoil) {
      const Grid grid(world, {}, make_cpu_device(1));
      Gpt model(training::tiny_gpt2(), grid.device());
      ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f}, {.zero = zero});
      const Batch batch = two_sequences();
      std::vector<double> values;
      for (int step = 0; step < 4; ++step) {
        if (spoil && step == 1) {
          const Tensor& weight = model.parameters().back()->value();
          std::vector<std::byte> kept(weight.bytes());
          weight.copy_to_host(kept);
          grid.device().ops().fill(weight, std::numeric_limits<float>::infinity());
          model.loss(batch).backward();
          CHECK_FALSE(std::isfinite(optimizer.step()));
          weight.copy_from_host(kept);
        }
        Loss loss = model.loss(batch);
        loss.backward();
        CHECK(std::isfinite(optimizer.step()));
        values.push_back(loss.value());
      }
      return values;
    };
    for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2}) {
      CHECK(losses(zero, true) == losses(zero, false));
    }
  });
}

TEST_CASE("weights saved from any grid and stage are the file that one rank writes") {
  ranked([](Communicator& world) {
    const ScratchDirectory scratch;
    const auto save = [&](Communicator& ranks, const GridOptions& options, Zero zero) {
      const Grid grid(ranks, options, make_cpu_device(1));
      Gpt model(odd_sizes(), grid.device());
      parallelize(model, grid, megatron_plan());
      ShardedOptimizer optimizer(model, grid, {}, {.zero = zero, .resident_elements = 20});
      const auto path = scratch.path() / "model.safetensors";
      save_weights(path, model.config(), optimizer.parameters(), ranks, nullptr);
      return ranks.rank() == 0 ? read_file(path) : std::string();
    };
    const auto self = world.split(world.rank(), 0, "self");
    const std::string alone = save(*self, {}, Zero::stage0);
    std::vector<GridOptions> grids = grids_of(world.size());
    for (const GridOptions& grid : grids_with_replicas(world.size())) grids.push_back(grid);
    for (const GridOptions& grid : grids) {
      for (const Zero zero : stages) {
        const std::string together = save(world, grid, zero);
        if (world.rank() == 0) CHECK(together == alone);
      }
    }
  });
}

TEST_CASE("training goes on with state that moved from one grid and stage to another") {
  ranked([](Communicator& world) {
    std::vector<std::int32_t> tokens(32);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int>(i * i % 31);
    Batch batch;
    batch.inputs = batch.targets = tokens;
    batch.sequences = 4;
    batch.context = 8;
    batch.tokens_in_step = 32;
    struct Side {
      Side(Communicator& world, const GridOptions& options, Zero zero)
          : grid(world, options, make_cpu_device(1)), model(odd_sizes(), grid.device()) {
        parallelize(model, grid, megatron_plan());
        optimizer.emplace(model, grid, AdamW{.lr = 1e-2f},
                          OptimizerOptions{.zero = zero, .resident_elements = 20});
      }
      // Every data rank sees the same sequences: sums over ranks are means.
      double step(Batch shared) {
        shared.tokens_in_step *= grid.data().size();
        Loss loss = model.loss(shared);
        loss.backward();
        optimizer->step();
        return loss.value() * grid.data().size();
      }
      Grid grid;
      Gpt model;
      std::optional<ShardedOptimizer> optimizer;
    };
    // Copies of shards, where the ranks make two groups.
    const int shard = world.size() % 2 == 0 ? world.size() / 2 : 0;
    Side a(world, {.data = world.size(), .shard = shard}, Zero::stage2);
    Side b(world, {.data = 1, .tensor = world.size()}, Zero::stage3);
    for (int i = 0; i < 3; ++i) a.step(batch);
    std::vector<Redistribution> moves;
    const auto add = [&](const std::vector<LogicalTensor>& from,
                         const std::vector<LogicalTensor>& to) {
      for (std::size_t i = 0; i < from.size(); ++i) {
        REQUIRE(from[i].name == to[i].name);
        moves.push_back({from[i].name, from[i].layout, to[i].layout, from[i].local.buffer(),
                         to[i].local.buffer()});
      }
    };
    add(a.optimizer->parameters(), b.optimizer->parameters());
    add(a.optimizer->state(), b.optimizer->state());
    redistribute(world, moves, {.staging_bytes = 1024});
    b.optimizer->resume_at(a.optimizer->steps_done());
    for (int i = 0; i < 3; ++i) {
      CHECK(b.step(batch) == doctest::Approx(a.step(batch)).epsilon(1e-5));
    }
  });
}

TEST_CASE(
    "copies in a tensor group stay equal where its ranks would run other numbers of threads") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    const GridOptions options{.data = 1, .tensor = world.size()};
    const int own = 1 + world.rank();
    CHECK_THROWS_WITH_AS(Grid(world, options, make_cpu_device(own)),
                         doctest::Contains("rank 1 has --threads 2, rank 0 has --threads 1"),
                         Error);
    const Grid grid(world, options, make_cpu_device(fewest_threads(world, options, own)));
    Gpt model(parse_model("layers=1,heads=8,width=16,context=8"), grid.device());
    parallelize(model, grid, megatron_plan(/*sequence_parallel=*/false));
    ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f});
    // Rows enough for several threads.
    std::vector<std::int32_t> tokens(8 * 512);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i % 37);
    for (int step = 0; step < 2; ++step) {
      Loss loss = model.loss({.inputs = tokens,
                              .targets = tokens,
                              .sequences = 512,
                              .context = 8,
                              .tokens_in_step = 8 * 512});
      loss.backward();
      optimizer.step();
    }
    for (const auto& parameter : model.parameters()) {
      if (parameter->name().find("norm") == std::string::npos) continue;
      const std::vector<float> values = train::test::to_host(parameter->value());
      std::vector<float> first = values;
      world.broadcast(std::span(first), 0).wait();
      CHECK_MESSAGE(training::same_bits(values, first), parameter->name());
    }
  });
}

TEST_CASE("generation over a tensor group writes what one rank writes") {
  ranked([](Communicator& world) {
    const auto generate = [](Communicator& ranks, bool sequence_parallel) {
      const Grid grid(ranks, {.tensor = ranks.size()}, make_cpu_device(1));
      Gpt model(odd_sizes(), grid.device());
      parallelize(model, grid, megatron_plan(sequence_parallel));
      SamplingOptions sampling;
      sampling.temperature = 0.0f;
      Generator generator(model, sampling);
      generator.begin(std::vector<std::int32_t>{1, 2, 3});
      std::vector<std::int32_t> tokens;
      for (int i = 0; i < 5; ++i) tokens.push_back(generator.next());
      return tokens;
    };
    const auto self = world.split(world.rank(), 0, "self");
    const auto alone = generate(*self, false);
    CHECK(generate(world, false) == alone);
    CHECK(generate(world, true) == alone);
  });
}

TEST_CASE("a model that writes text while it is trained learns the same to the bit") {
  ranked([](Communicator& world) {
    for (int tensor = 1; tensor <= world.size(); ++tensor) {
      if (world.size() % tensor != 0) continue;
      for (const Zero zero : {Zero::stage0, Zero::stage2, Zero::stage3}) {
        CAPTURE(tensor);
        CAPTURE(static_cast<int>(zero));
        Run run = training::run_of(odd_sizes(), 6, 12);
        run.config.dropout = 0.2f;
        run.grid = {.data = world.size() / tensor, .tensor = tensor};
        run.optimizer.zero = zero;
        const auto silent = train_on(world, run);
        std::vector<std::int32_t> text;
        run.sample = [&text](Gpt& model, std::int64_t step) {
          Generator generator(model, {});
          generator.begin(std::vector<std::int32_t>{1});
          text.push_back(static_cast<std::int32_t>(step));
          // Beyond the context, too.
          for (int i = 0; i < 12; ++i) text.push_back(generator.next());
        };
        const auto writing = train_on(world, run);
        CHECK(text.size() == 2 * 13);
        std::vector<std::int32_t> first = text;
        world.broadcast(std::span(first), 0).wait();
        CHECK(text == first);
        CHECK(training::same_bits(writing.parameters, silent.parameters));
        REQUIRE(writing.records.size() == silent.records.size());
        for (std::size_t i = 0; i < silent.records.size(); ++i) {
          CHECK(writing.records[i].loss == silent.records[i].loss);
          CHECK(writing.records[i].val_loss == silent.records[i].val_loss);
        }
      }
    }
  });
}
