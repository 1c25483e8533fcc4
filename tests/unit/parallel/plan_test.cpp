#include "libtrain/parallel/plan.hpp"

#include <cstring>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "tests/unit/model/small_models.hpp"

using namespace train;

namespace {

// The message of applying the plan to a small GPT-2 on one rank.
void apply(const ParallelPlan& plan) {
  local::run(1, [&](Communicator& world) {
    const Grid grid(world, {}, make_reference_device());
    Gpt model(small::gpt2(), grid.device());
    parallelize(model, grid, plan);
  });
}

ParallelPlan with(ParallelPlan plan, const char* pattern, Split split) {
  for (PlanRule& rule : plan.rules) {
    if (rule.pattern == pattern) rule.split = split;
  }
  return plan;
}

}  // namespace

TEST_CASE("Megatron's plan names every layer of both styles once") {
  local::run(1, [](Communicator& world) {
    const Grid grid(world, {}, make_reference_device());
    for (const GptConfig& config : {small::gpt2(), small::llama()}) {
      Gpt model(config, grid.device());
      parallelize(model, grid, megatron_plan());
      for (const Layer& layer : model.layers()) {
        CAPTURE(layer.name);
        CHECK((layer.split == Split::replicated) == (layer.kind == LayerKind::norm));
      }
    }
  });
}

TEST_CASE("a plan that does not fit the model is refused with the pattern and the layer") {
  ParallelPlan plan = megatron_plan();
  plan.rules.push_back({"blocks.*.mlp.gate", Split::column});
  CHECK_THROWS_WITH_AS(apply(plan), doctest::Contains("\"blocks.*.mlp.gate\" matches no layer"),
                       Error);
  plan.rules.back().pattern = "blocks.0.mlp.up";
  CHECK_THROWS_WITH_AS(apply(plan),
                       doctest::Contains("layer blocks.0.mlp.up matches both \"blocks.*.mlp.*up\" "
                                         "and \"blocks.0.mlp.up\""),
                       Error);
  plan = megatron_plan();
  std::erase_if(plan.rules, [](const PlanRule& rule) { return rule.pattern == "final_norm"; });
  CHECK_THROWS_WITH_AS(apply(plan), doctest::Contains("no pattern matches layer final_norm"),
                       Error);
}

TEST_CASE("a layer takes only the splits that it can have, together with its partner") {
  CHECK_THROWS_WITH_AS(apply(with(megatron_plan(), "head", Split::row)),
                       doctest::Contains("it can be vocabulary or replicated"), Error);
  CHECK_THROWS_WITH_AS(apply(with(megatron_plan(), "final_norm", Split::column)),
                       doctest::Contains("it can be replicated"), Error);
  CHECK_THROWS_WITH_AS(apply(with(megatron_plan(), "blocks.*.mlp.down", Split::replicated)),
                       doctest::Contains("split both or none"), Error);
  ParallelPlan mixed = with(megatron_plan(), "blocks.*.attention.qkv", Split::replicated);
  mixed = with(mixed, "blocks.*.attention.out", Split::replicated);
  for (PlanRule& rule : mixed.rules) {
    if (rule.pattern.find(".attention.") != std::string::npos) rule.pattern.replace(7, 1, "0");
  }
  mixed.rules.push_back({"blocks.1.attention.qkv", Split::column});
  mixed.rules.push_back({"blocks.1.attention.out", Split::row});
  CHECK_THROWS_WITH_AS(apply(mixed), doctest::Contains("split the heads of all blocks, or of none"),
                       Error);
  // The head's matrix is the embedding's.
  CHECK_THROWS_WITH_AS(apply(with(megatron_plan(), "head", Split::replicated)),
                       doctest::Contains("split both or none"), Error);
}

TEST_CASE("more ranks than a model has parts are refused") {
  local::run(4, [](Communicator& world) {
    const Grid grid(world, {.tensor = 4}, make_reference_device());
    GptConfig config = small::gpt2();
    config.vocabulary = 3;
    Gpt model(config, grid.device());
    CHECK_THROWS_WITH_AS(parallelize(model, grid, megatron_plan()),
                         doctest::Contains("only 3 tokens in its vocabulary"), Error);
  });
}

TEST_CASE("values that were there before the split stay") {
  local::run(3, [](Communicator& world) {
    const Grid grid(world, {.tensor = 3}, make_reference_device());
    Gpt drawn_before(small::llama(), grid.device());
    for (const auto& parameter : drawn_before.parameters()) parameter->value();
    Gpt drawn_after(small::llama(), grid.device());
    parallelize(drawn_before, grid, megatron_plan());
    parallelize(drawn_after, grid, megatron_plan());
    for (std::size_t i = 0; i < drawn_after.parameters().size(); ++i) {
      const Tensor& a = drawn_before.parameters()[i]->value();
      const Tensor& b = drawn_after.parameters()[i]->value();
      CAPTURE(drawn_after.parameters()[i]->name());
      REQUIRE(a.shape() == b.shape());
      CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
    }
  });
}
