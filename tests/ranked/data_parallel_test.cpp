// Any count of ranks trains as one rank does.

#include <doctest/doctest.h>

#include "tests/support/ranked.hpp"
#include "tests/support/training.hpp"

using namespace train;
using training::Outcome;
using training::Run;

namespace {

/// The run on this rank alone.
Outcome train_alone(Communicator& world, const Run& run) {
  const auto self = world.split(world.rank(), 0, "self");
  return training::train_on(*self, run);
}

void check_against_one_rank(Communicator& world, Run run) {
  const Outcome alone = train_alone(world, run);
  run.trainer.micro_batch = 0;
  const Outcome together = training::train_on(world, run);
  if (world.rank() != 0) return;
  REQUIRE(together.records.size() == static_cast<std::size_t>(run.trainer.steps));
  CHECK(training::largest_relative_difference(alone, together) < 1e-5);
  CHECK(together.records.back().loss < 0.9 * together.records.front().loss);
  REQUIRE(together.records.back().val_loss.has_value());
  CHECK(*together.records.back().val_loss ==
        doctest::Approx(*alone.records.back().val_loss).epsilon(1e-5));
}

}  // namespace

TEST_CASE("50 steps of GPT-2 have one rank's losses") {
  ranked([](Communicator& world) {
    check_against_one_rank(world, training::run_of(training::tiny_gpt2(), 50, 12));
  });
}

TEST_CASE("50 steps of Llama with dropout have one rank's losses") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 50, 12);
    run.config.dropout = 0.1f;
    check_against_one_rank(world, run);
  });
}

// 11 rows over 2, 3 and 4 ranks, in passes of at most 2; then more ranks than rows.
TEST_CASE("batches that do not divide by the ranks have one rank's losses") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 50, 11);
    run.config.dropout = 0.1f;
    const Outcome alone = train_alone(world, run);
    run.trainer.micro_batch = 2;
    const Outcome together = training::train_on(world, run);
    Run small = training::run_of(training::tiny_gpt2(), 10, 2);
    const Outcome few = train_alone(world, small);
    const Outcome many = training::train_on(world, small);
    if (world.rank() != 0) return;
    CHECK(training::largest_relative_difference(alone, together) < 1e-5);
    CHECK(together.records.back().tokens == alone.records.back().tokens);
    CHECK(training::largest_relative_difference(few, many) < 1e-5);
  });
}

TEST_CASE("gradients that add up over passes are those of one pass") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 20, 24);
    const Outcome whole = training::train_on(world, run);
    run.trainer.micro_batch = 1;
    const Outcome parts = training::train_on(world, run);
    if (world.rank() == 0) CHECK(training::largest_relative_difference(whole, parts) < 1e-5);
  });
}

TEST_CASE("a rerun on the same grid has the same bits") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 10, 12);
    run.config.dropout = 0.1f;
    run.threads = 2;
    const Outcome first = training::train_on(world, run);
    const Outcome second = training::train_on(world, run);
    CHECK(training::same_bits(first.parameters, second.parameters));
    for (std::size_t i = 0; i < first.records.size(); ++i) {
      CHECK(first.records[i].loss == second.records[i].loss);
      CHECK(first.records[i].grad_norm == second.records[i].grad_norm);
    }
  });
}

TEST_CASE("all ranks hold the same parameters") {
  ranked([](Communicator& world) {
    const Outcome outcome =
        training::train_on(world, training::run_of(training::tiny_llama(), 5, 12));
    std::vector<float> root = outcome.parameters;
    world.broadcast(std::span(root), 0).wait();
    CHECK(training::same_bits(root, outcome.parameters));
  });
}

TEST_CASE("bf16 with full-precision copies learns as f32 does") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_llama(), 50, 12);
    const Outcome full = training::train_on(world, run);
    run.type = DataType::bf16;
    const Outcome half = training::train_on(world, run);
    if (world.rank() != 0) return;
    CHECK(half.records.back().loss == doctest::Approx(full.records.back().loss).epsilon(0.02));
  });
}

TEST_CASE("a batch of nothing is refused on every rank") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 1, 0);
    CHECK_THROWS_WITH_AS(training::train_on(world, run), doctest::Contains("--batch is 0"), Error);
  });
}

TEST_CASE("a loss that is not finite stops every rank with the step and the tensor") {
  ranked([](Communicator& world) {
    Run run = training::run_of(training::tiny_gpt2(), 20, 12);
    run.adamw.lr = run.trainer.schedule.lr = 1e30f;
    run.trainer.schedule.warmup_steps = 0;
    CHECK_THROWS_WITH_AS(training::train_on(world, run), doctest::Contains("step 2: the loss is"),
                         Error);
  });
}
