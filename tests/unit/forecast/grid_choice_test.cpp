#include "libtrain/forecast/grid_choice.hpp"

#include <set>
#include <tuple>

#include <doctest/doctest.h>

#include "collectives/error.hpp"

using namespace train;

namespace {

GridQuestion question_of(int ranks, double memory_bytes) {
  GridQuestion question;
  question.training.config = parse_model("layers=6,heads=8,width=512,context=256");
  question.training.config.vocabulary = 8192;
  question.ranks = ranks;
  question.batch = 64;
  question.memory_bytes = static_cast<std::int64_t>(memory_bytes);
  question.device = {.flops = 1e12, .memory_bytes = 1e13};
  question.interconnect = {.ranks_per_node = 8,
                           .node_rate = 1e11,
                           .network_rate = 1e10,
                           .latency_s = 1e-5,
                           .rings = false};
  return question;
}

const GridPlan& best_of(const GridChoice& choice) {
  REQUIRE_FALSE(choice.plans.empty());
  return choice.plans[choice.best];
}

}  // namespace

TEST_CASE("where everything fits, the simplest grid is taken") {
  const GridChoice choice = choose_grid(question_of(8, 1e12));
  const TrainingShape& best = best_of(choice).shape;
  CHECK(best.data == 8);
  CHECK(best.tensor == 1);
  CHECK(best.optimizer.zero == Zero::stage0);
  CHECK(best.recompute == Recompute::none);
  CHECK(best.passes == 1);
  // Each grid and stage once, fastest first.
  std::set<std::tuple<int, int, Zero>> seen;
  for (std::size_t i = 0; i < choice.plans.size(); ++i) {
    const GridPlan& plan = choice.plans[i];
    CHECK(plan.shape.data_ranks() * plan.shape.tensor == 8);
    CHECK(seen.insert({plan.shape.context, plan.shape.tensor, plan.shape.optimizer.zero}).second);
    if (i > 0) CHECK(plan.step.seconds() >= choice.plans[i - 1].step.seconds());
  }
  CHECK(seen.size() == 9 * 4 + 1);
}

TEST_CASE("less memory takes more passes, then stages, then recomputation or tensor ranks") {
  double step_s = 0.0;
  std::int64_t needed = 0;
  for (double memory = 4e9; memory > 0; memory = static_cast<double>(needed) - 1) {
    const GridChoice choice = choose_grid(question_of(8, memory));
    if (choice.plans.empty()) break;
    const GridPlan& best = best_of(choice);
    CHECK(static_cast<double>(best.memory.total()) <= memory);
    // Never faster with less, but for what counts as equal.
    CHECK(best.step.seconds() * 1.021 >= step_s);
    step_s = best.step.seconds();
    needed = best.memory.total();
  }
  CHECK(step_s > 0.0);
  const GridChoice none = choose_grid(question_of(8, 1e6));
  CHECK(none.plans.empty());
  REQUIRE(none.smallest);
  CHECK(none.smallest->memory.total() <= needed);
}

TEST_CASE("what was decided stays") {
  GridQuestion question = question_of(8, 1e12);
  question.context = 1;
  question.tensor = 4;
  question.zero = Zero::stage2;
  question.sequence_parallel = false;
  question.recompute = Recompute::block;
  question.micro_batch = 5;
  const GridChoice choice = choose_grid(question);
  REQUIRE(choice.plans.size() == 1);
  const TrainingShape& shape = choice.plans[0].shape;
  CHECK(shape.data == 2);
  CHECK(shape.optimizer.zero == Zero::stage2);
  CHECK_FALSE(shape.sequence_parallel);
  CHECK(shape.recompute == Recompute::block);
  CHECK(shape.sequences == 5);  // 32 in 7 passes of at most 5
  CHECK(shape.passes == 7);
  question.tensor = 3;
  CHECK_THROWS_WITH_AS(choose_grid(question), doctest::Contains("no grid of 8 ranks"), Error);
}

TEST_CASE("over a slow network shards stay inside a node, where they fit there") {
  GridQuestion question = question_of(32, 2.2e9);
  question.batch = 64;
  question.tensor = 1;
  question.context = 1;
  question.zero = Zero::stage3;
  question.interconnect.network_rate = 1e8;
  const GridPlan& plan = best_of(choose_grid(question));
  CHECK(plan.shape.shard == 8);
  CHECK(plan.shape.replicas() == 4);
  CHECK(plan.step.data_crosses_nodes);
  question.shard = 0;
  CHECK(best_of(choose_grid(question)).step.data_s > 1.5 * plan.step.data_s);
  question.shard = 4;
  CHECK(best_of(choose_grid(question)).shape.shard == 4);
  question.shard = 3;
  CHECK_THROWS_WITH_AS(choose_grid(question), doctest::Contains("--zero-ranks"), Error);
  // On one node there is nothing to choose.
  question = question_of(8, 1e12);
  for (const GridPlan& other : choose_grid(question).plans) CHECK(other.shape.shard == 0);
}

TEST_CASE("sequences that are fewer than ranks, and long, are shared by their rows") {
  GridQuestion question = question_of(8, 3e9);
  question.training.config.context = 16384;
  question.batch = 2;
  const GridPlan& plan = best_of(choose_grid(question));
  CHECK(plan.shape.context == 4);
  CHECK(plan.shape.tensor == 1);
  CHECK(plan.shape.data == 2);
  CHECK(plan.step.context_s > 0.0);
  CHECK(plan.step.context_s < 0.2 * plan.step.seconds());
  CHECK(plan.unequal(2).empty());
  // No more ranks than heads, unless that was decided.
  question.ranks = 32;
  for (const GridPlan& other : choose_grid(question).plans) {
    CHECK((other.shape.context == 1 || other.shape.context * other.shape.tensor <= 8));
  }
  question.context = 16;
  CHECK(best_of(choose_grid(question)).shape.context == 16);
  question.context = 5;
  CHECK_THROWS_WITH_AS(choose_grid(question), doctest::Contains("--context-parallel"), Error);
}

TEST_CASE("unequal shares are legal, and told") {
  GridQuestion question = question_of(3, 1e12);
  question.context = 1;
  question.tensor = 3;
  const GridPlan& plan = best_of(choose_grid(question));
  CHECK(plan.unequal(64) ==
        "8 key/value heads over 3 ranks, 2048 hidden features over 3 ranks, "
        "8192 tokens of the vocabulary over 3 ranks");
  question.tensor = 1;
  CHECK(best_of(choose_grid(question)).unequal(64) == "64 sequences over 3 ranks");
  CHECK(best_of(choose_grid(question)).unequal(63).empty());
}

TEST_CASE("where nothing fits, more ranks may") {
  GridQuestion question = question_of(1, 2.2e8);
  CHECK(choose_grid(question).plans.empty());
  const auto ranks = enough_ranks(question);
  REQUIRE(ranks);
  question.ranks = *ranks;
  CHECK_FALSE(choose_grid(question).plans.empty());
  question.ranks = *ranks / 2;
  CHECK(choose_grid(question).plans.empty());
  question.memory_bytes = 1000;
  CHECK_FALSE(enough_ranks(question));
}

TEST_CASE("tensor groups stay inside a node where the network is slow") {
  GridQuestion question = question_of(32, 4.5e8);
  question.interconnect.network_rate = 1e9;
  question.batch = 32;
  CHECK(best_of(choose_grid(question)).shape.tensor <= 8);
}
