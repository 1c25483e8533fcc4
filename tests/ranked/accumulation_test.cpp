// A step of several passes is the step of one pass over all of them, at every ZeRO stage.

#include <cmath>

#include <doctest/doctest.h>

#include "libtrain/parallel/plan.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/training.hpp"

using namespace train;

namespace {

constexpr int steps = 4;
constexpr int passes = 3;
constexpr std::int64_t context = 8;

// Loss and gradient norm, step by step.
std::vector<double> train_in(Communicator& world, const GptConfig& config, Zero zero,
                             std::size_t bucket_bytes, int passes_per_step) {
  const Grid grid(world, {}, make_cpu_device(1));
  Gpt model(config, grid.device());
  ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f},
                             {.zero = zero, .bucket_bytes = bucket_bytes, .resident_elements = 40});
  TokenDataset data(std::make_shared<training::PatternSource>(4000, config.vocabulary), {});
  data.fit_model(context, static_cast<std::int32_t>(config.vocabulary));
  const std::int64_t sequences = passes / passes_per_step;
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(sequences * context));
  std::vector<std::int32_t> targets(inputs.size());
  std::vector<double> curve;
  std::uint64_t position = static_cast<std::uint64_t>(world.rank());
  for (int step = 0; step < steps; ++step) {
    optimizer.begin_step(passes_per_step);
    double sum = 0.0;
    for (int pass = 0; pass < passes_per_step; ++pass) {
      data.batch(position, static_cast<std::size_t>(sequences), inputs, targets);
      position += static_cast<std::uint64_t>(sequences);
      Batch batch{.inputs = inputs, .targets = targets, .sequences = sequences, .context = context};
      batch.tokens_in_step = passes * context * world.size();
      Loss loss = model.loss(batch);
      loss.backward();
      sum += loss.value();
    }
    curve.push_back(sum);
    curve.push_back(optimizer.step());
  }
  return curve;
}

void check_model(Communicator& world, const GptConfig& config) {
  const auto expected = train_in(world, config, Zero::stage0, 4096, 1);
  // One bucket for everything is filled again while its last sum is under way.
  for (const std::size_t bucket_bytes : {std::size_t{1} << 20, std::size_t{4096}}) {
    for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
      CAPTURE(bucket_bytes);
      CAPTURE(static_cast<int>(zero));
      const auto found = train_in(world, config, zero, bucket_bytes, passes);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-4));
      }
    }
  }
}

}  // namespace

TEST_CASE("gradients of several passes add up: a tied head") {
  ranked([](Communicator& world) { check_model(world, training::tiny_gpt2()); });
}

TEST_CASE("gradients of several passes add up: a head of its own") {
  ranked([](Communicator& world) { check_model(world, training::tiny_llama()); });
}
