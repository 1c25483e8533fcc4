#include "libtrain/trainer.hpp"

#include <tuple>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/agreement.hpp"
#include "libtrain/error_report.hpp"
#include "tests/support/training.hpp"

using namespace train;

TEST_CASE("after the first steps nothing is asked of the system for tensors") {
  local::run(2, [](Communicator& world) {
    for (const GptConfig& config : {training::tiny_gpt2(), training::tiny_llama()}) {
      const Grid grid(world, {}, make_cpu_device(1));
      GptConfig with_dropout = config;
      with_dropout.dropout = 0.1f;
      Gpt model(with_dropout, grid.device());
      ShardedOptimizer optimizer(model, grid, {});
      TokenDataset data(std::make_shared<training::PatternSource>(4000, config.vocabulary));
      const auto steps = [&](std::int64_t count) {
        training::Run run = training::run_of(config, count, 8);
        run.trainer.micro_batch = 2;
        Trainer(grid, model, optimizer, data, run.trainer).run();
        return grid.device().memory().statistics();
      };
      const Memory::Statistics early = steps(2);
      const Memory::Statistics late = steps(10);
      CHECK(early.system_allocations > 0);
      CHECK(late.system_allocations == early.system_allocations);
      CHECK(late.bytes_in_use == early.bytes_in_use);
    }
  });
}

TEST_CASE("a run that stops early follows the schedule of all its steps") {
  local::run(1, [](Communicator& world) {
    training::Run whole = training::run_of(training::tiny_gpt2(), 12, 4);
    training::Run cut = whole;
    cut.trainer.stop_at = 5;
    const auto expected = training::train_on(world, whole).records;
    const auto found = training::train_on(world, cut).records;
    REQUIRE(found.size() == 5);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].loss == expected[i].loss);
      CHECK(found[i].lr == expected[i].lr);
      CHECK(found[i].tokens == expected[i].tokens);
    }
    cut.trainer.stop_at = 13;
    CHECK_THROWS_WITH_AS(training::train_on(world, cut), doctest::Contains("--stop-at"), Error);
  });
}

TEST_CASE("a signal on one rank ends all behind the same step, without evaluation") {
  local::run(3, [](Communicator& world) {
    const training::Run run = training::run_of(training::tiny_gpt2(), 20, 6);
    const Grid grid(world, {}, make_cpu_device(1));
    Gpt model(run.config, grid.device());
    ShardedOptimizer optimizer(model, grid, run.adamw);
    TokenDataset data(std::make_shared<training::PatternSource>(4000, run.config.vocabulary),
                      {.validation_fraction = 0.1});
    Trainer trainer(grid, model, optimizer, data, run.trainer);
    int asked = 0;
    trainer.stop_when([&] { return ++asked == 4 && world.rank() == 1; });
    std::vector<StepRecord> records;
    if (grid.rank() == 0) trainer.add_sink(std::make_unique<training::CollectingSink>(records));
    trainer.run();
    CHECK(trainer.stopped());
    CHECK(optimizer.steps_done() == 4);
    if (grid.rank() != 0) return;
    REQUIRE(records.size() == 4);
    CHECK_FALSE(records.back().val_loss.has_value());
  });
}

TEST_CASE("evaluation happens when it is due, on as many sequences as asked") {
  local::run(1, [](Communicator& world) {
    training::Run run = training::run_of(training::tiny_gpt2(), 7, 4);
    run.trainer.eval_every = 3;
    run.trainer.eval_sequences = 5;
    const auto records = training::train_on(world, run).records;
    for (const StepRecord& record : records) {
      CHECK(record.val_loss.has_value() == (record.step % 3 == 0 || record.step == 7));
    }
  });
}

TEST_CASE("a mixture trains and validates alike on any ranks, its loss the weighted mean") {
  std::vector<StepRecord> alone;
  for (const int ranks : {1, 2, 3}) {
    CAPTURE(ranks);
    std::vector<StepRecord> records;
    local::run(ranks, [&](Communicator& world) {
      training::Run run = training::run_of(training::tiny_gpt2(), 4, 6);
      run.trainer.eval_every = 2;
      run.trainer.eval_sequences = ranks == 3 ? 1000 : 0;  // more than there are, and all
      const Grid grid(world, {}, make_cpu_device(1));
      Gpt model(run.config, grid.device());
      ShardedOptimizer optimizer(model, grid, run.adamw);
      Data sources;
      for (const auto& [name, weight, tokens] :
           {std::tuple{"web", 3.0, 900}, std::tuple{"code", 1.0, 4000}}) {
        const auto size = static_cast<std::uint64_t>(tokens);
        sources.sources.push_back(
            {std::make_shared<training::PatternSource>(size, run.config.vocabulary),
             DataKind::llmc_shards, name, weight});
      }
      TokenDataset data(std::move(sources), {.validation_fraction = 0.1});
      Trainer trainer(grid, model, optimizer, data, run.trainer);
      if (grid.rank() == 0) trainer.add_sink(std::make_unique<training::CollectingSink>(records));
      trainer.run();
    });
    REQUIRE(records.size() == 4);
    const StepRecord& last = records.back();
    REQUIRE(last.val_losses.size() == 2);
    CHECK(last.val_losses[0].source == "web");
    CHECK(*last.val_loss ==
          doctest::Approx(0.75 * last.val_losses[0].loss + 0.25 * last.val_losses[1].loss));
    if (ranks == 1) alone = records;
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(records[i].loss == doctest::Approx(alone[i].loss).epsilon(1e-5));
      CHECK(records[i].val_loss.has_value() == (i % 2 == 1));
    }
    CHECK(*last.val_loss == doctest::Approx(*alone.back().val_loss).epsilon(1e-5));
  }
}

TEST_CASE("the lowest of the ranks that fail alike prints") {
  local::run(4, [](Communicator& world) {
    ErrorReport report(world);
    // Ranks 1 and 3 share a message but for its numbers, 2 has its own, 0 goes on.
    if (world.rank() == 0) return world.barrier().wait();
    const std::string message = world.rank() == 2   ? "disk full"
                                : world.rank() == 1 ? "token 7 is bad"
                                                    : "token 12 is bad";
    const auto verdict = report.agree(message, std::chrono::milliseconds(300));
    CHECK(verdict.print == (world.rank() != 3));
    CHECK_FALSE(verdict.everybody_failed);
    world.barrier().wait();
  });
}

TEST_CASE("when all fail, all know it") {
  local::run(3, [](Communicator& world) {
    ErrorReport report(world);
    const auto verdict = report.agree("no such file", std::chrono::seconds(20));
    CHECK(verdict.everybody_failed);
    CHECK(verdict.print == (world.rank() == 0));
    world.barrier().wait();
  });
}

TEST_CASE("ranks that were given different options or data say so before they train") {
  local::run(3, [](Communicator& world) {
    const auto refused = [&](const char* name, const auto& change) {
      INFO(name);
      training::Run run = training::run_of(training::tiny_gpt2(), 3, 6);
      if (world.rank() == 2) change(run);
      CHECK_THROWS_WITH_AS(training::train_on(world, run), doctest::Contains(name), Error);
    };
    refused("rank 2 has AdamW with lr 0.5, rank 0 has AdamW with lr 0.01",
            [](training::Run& run) { run.adamw.lr = 0.5f; });
    refused("rank 2 has a batch of 9, rank 0 has a batch of 6",
            [](training::Run& run) { run.trainer.batch = 9; });
    refused("rank 2 has model", [](training::Run& run) { run.config.layers = 3; });
    refused("rank 2 has 4 steps", [](training::Run& run) { run.trainer.steps = 4; });
    refused("rank 2 has data of", [](training::Run& run) { run.data_tokens = 3999; });
  });
}

TEST_CASE("all ranks hear what the lowest one says") {
  local::run(3, [](Communicator& world) {
    CHECK(first_said(world, "") == "");
    CHECK(first_said(world, world.rank() == 0 ? "" : "rank " + std::to_string(world.rank())) ==
          "rank 1");
  });
}
