#include "libtrain/optimizer/sharded_optimizer.hpp"

#include <cmath>
#include <limits>
#include <memory>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "tests/unit/model/small_models.hpp"

using namespace train;

namespace {

struct Setup {
  explicit Setup(Communicator& world, AdamW config)
      : grid(world, {}, make_reference_device()),
        model(small::gpt2(), grid.device(), {DataType::f32, 1}),
        optimizer(model, grid, config) {}

  // A pass that replaces what the model's own backward wrote, after the reducer has seen it.
  double step(float gradient) {
    const small::Tokens tokens(model.config(), 1);
    model.loss(tokens.batch()).backward();
    for (const auto& parameter : model.parameters()) {
      model.device().ops().fill(parameter->gradient(), gradient);
    }
    return optimizer.step();
  }
  float first(const char* name) const {
    return model.find_parameter(name)->value().span<float>()[0];
  }

  Grid grid;
  Gpt model;
  ShardedOptimizer optimizer;
};

}  // namespace

TEST_CASE("the norm is that of all gradients together, and clipping keeps AdamW's direction") {
  local::run(1, [](Communicator& world) {
    Setup setup(world, {.lr = 0.1f, .weight_decay = 0.0f, .clip_norm = 1.0f});
    const auto count = static_cast<double>(setup.model.config().parameter_count());
    const float before = setup.first("final_norm.weight");
    CHECK(setup.step(2.0f) == doctest::Approx(2.0 * std::sqrt(count)));
    // The first step of AdamW is lr in the gradient's direction, however long the gradient is.
    CHECK(setup.first("final_norm.weight") == doctest::Approx(before - 0.1).epsilon(1e-4));
    CHECK(setup.optimizer.steps_done() == 1);
  });
}

TEST_CASE("clipping scales the gradient that the moments see") {
  local::run(1, [](Communicator& world) {
    // With beta1 = 0 and eps far above the gradient, a step is lr · gradient / eps.
    AdamW config{.lr = 1.0f, .beta1 = 0.0f, .beta2 = 0.0f, .eps = 100.0f, .weight_decay = 0.0f};
    config.clip_norm = 0.5f;
    Setup setup(world, config);
    const auto count = static_cast<double>(setup.model.config().parameter_count());
    const float before = setup.first("final_norm.bias");
    setup.step(3.0f);
    const double clipped = 0.5 / std::sqrt(count);
    CHECK(before - setup.first("final_norm.bias") ==
          doctest::Approx(clipped / (clipped + 100.0)).epsilon(1e-3));
  });
}

TEST_CASE("weight decay acts on matrices only") {
  local::run(1, [](Communicator& world) {
    Setup setup(world, {.lr = 0.1f, .weight_decay = 0.5f});
    const float matrix = setup.first("token_embedding.weight");
    const float vector = setup.first("final_norm.weight");
    setup.step(0.0f);
    CHECK(setup.first("token_embedding.weight") == doctest::Approx(matrix * (1 - 0.1 * 0.5)));
    CHECK(setup.first("final_norm.weight") == vector);
  });
}

TEST_CASE("a gradient that is not finite changes nothing") {
  local::run(1, [](Communicator& world) {
    Setup setup(world, {.lr = 0.1f});
    const float before = setup.first("token_embedding.weight");
    CHECK_FALSE(std::isfinite(setup.step(std::numeric_limits<float>::infinity())));
    CHECK(setup.first("token_embedding.weight") == before);
    CHECK(setup.optimizer.steps_done() == 0);
  });
}

TEST_CASE("hyperparameters and options that cannot be are refused") {
  local::run(1, [](Communicator& world) {
    const Grid grid(world, {}, make_reference_device());
    Gpt model(small::gpt2(), grid.device());
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {.beta2 = 1.0f}), Error);
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {.lr = -1.0f}), Error);
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {}, {.gradient_type = DataType::bf16}), Error);
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {}, {.gradient_type = DataType::f64}), Error);
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {}, {.gradient_type = DataType::i32}), Error);
    CHECK_THROWS_AS(ShardedOptimizer(model, grid, {}, {.resident_elements = -1}), Error);
    CHECK_THROWS_AS(zero_from(4), Error);
  });
}

TEST_CASE("a model has one optimizer at a time") {
  local::run(1, [](Communicator& world) {
    const Grid grid(world, {}, make_reference_device());
    Gpt model(small::gpt2(), grid.device());
    auto optimizer = std::make_unique<ShardedOptimizer>(model, grid, AdamW{.lr = 0.1f});
    CHECK_THROWS_WITH_AS(ShardedOptimizer(model, grid, {}), doctest::Contains("has an optimizer"),
                         Error);
    optimizer.reset();
    optimizer = std::make_unique<ShardedOptimizer>(model, grid, AdamW{.lr = 0.2f});
    const small::Tokens tokens(model.config(), 1);
    model.loss(tokens.batch()).backward();
    CHECK_THROWS_WITH_AS(optimizer->step(std::numeric_limits<float>::quiet_NaN()),
                         doctest::Contains("learning rate is nan"), Error);
    CHECK(optimizer->step() > 0.0);
    CHECK(optimizer->steps_done() == 1);
  });
}

TEST_CASE("a batch without sequences has no loss") {
  local::run(1, [](Communicator& world) {
    const Grid grid(world, {}, make_reference_device());
    Gpt model(small::gpt2(), grid.device());
    ShardedOptimizer optimizer(model, grid, {});
    Batch empty;
    empty.context = model.config().context;
    Loss loss = model.loss(empty);
    CHECK(loss.value() == 0.0);
    CHECK(model.evaluate(empty) == 0.0);
    loss.backward();
    CHECK(optimizer.step() == 0.0);
  });
}
