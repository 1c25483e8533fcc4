// libtrain beside PyTorch: logits, loss, every gradient, and 20 AdamW steps on one batch. The
// numbers come from make_golden.py.

#include <cmath>
#include <functional>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/checkpoint/weights.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "tests/golden/models/device.hpp"
#include "tests/support/to_host.hpp"

using namespace train;
using train::test::to_host;

namespace {

constexpr std::int64_t sequences = 4;
constexpr std::int64_t context = 16;

std::string path_of(const std::string& name, const char* kind) {
  return std::string(TRAIN_GOLDEN_DIR) + "/" + name + "." + kind + ".safetensors";
}

template <typename T>
std::vector<T> read(const SafetensorsReader& file, const std::string& name) {
  const SafetensorsEntry* entry = file.find(name);
  REQUIRE_MESSAGE(entry != nullptr, name);
  std::vector<T> values(static_cast<std::size_t>(entry->elements()));
  file.read(name, std::span(values));
  return values;
}

double relative_difference(std::span<const float> found, std::span<const float> expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

struct Golden {
  explicit Golden(const std::string& name)
      : file(path_of(name, "golden")),
        inputs(read<std::int32_t>(file, "inputs")),
        targets(read<std::int32_t>(file, "targets")) {}

  Batch batch() const {
    Batch made;
    made.inputs = inputs;
    made.targets = targets;
    made.sequences = sequences;
    made.context = context;
    return made;
  }

  SafetensorsReader file;
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> targets;
};

void check_first_batch(const std::string& name, Gpt& model) {
  const Golden golden(name);
  const Tensor logits = model.logits(golden.batch());
  CHECK(relative_difference(to_host(logits), read<float>(golden.file, "logits")) < 1e-4);
  Loss loss = model.loss(golden.batch());
  loss.backward();
  const double expected = read<double>(golden.file, "loss")[0];
  CHECK(std::abs(loss.value() - expected) < 1e-4 * expected);
  for (const auto& parameter : model.parameters()) {
    CAPTURE(parameter->name());
    const auto gradient = read<float>(golden.file, "gradient." + parameter->name());
    CHECK(relative_difference(to_host(parameter->gradient()), gradient) < 1e-4);
  }
}

void check_training(const std::string& name, Gpt& model, ShardedOptimizer& optimizer,
                    const std::function<double(double first, double now)>& tolerance) {
  const Golden golden(name);
  const auto losses = read<double>(golden.file, "losses");
  REQUIRE(losses.size() == 20);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    Loss loss = model.loss(golden.batch());
    loss.backward();
    optimizer.step();
    CAPTURE(step);
    CHECK(std::abs(loss.value() - losses[step]) < tolerance(losses[0], losses[step]));
  }
}

void check_model(const std::string& name) {
  local::run(1, [&](Communicator& world) {
    const WeightsFile weights(path_of(name, "weights"));
    const Grid grid(world, {}, golden_device());
    Gpt model(weights.config(), grid.device());
    weights.load(model);
    ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f});
    check_first_batch(name, model);
    optimizer.begin_step();
    check_training(name, model, optimizer, [](double, double now) { return 1e-3 * now; });
  });
}

// The losses of f32 within what 8 bits of mantissa keep of logits, which grow while the loss falls.
void check_bf16_training(const std::string& name) {
  local::run(1, [&](Communicator& world) {
    const WeightsFile weights(path_of(name, "weights"));
    const Grid grid(world, {}, golden_device());
    Gpt model(weights.config(), grid.device(), {.type = DataType::bf16});
    weights.load(model);
    ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f});
    check_training(name, model, optimizer, [](double first, double) { return 2e-2 * first; });
  });
}

}  // namespace

TEST_CASE("GPT-2 style: PyTorch's logits, loss, gradients and 20 steps") {
  check_model("gpt2");
}

TEST_CASE("Llama style: PyTorch's logits, loss, gradients and 20 steps") {
  check_model("llama");
}

TEST_CASE("in bf16, 20 steps near PyTorch's of f32") {
  check_bf16_training("gpt2");
  check_bf16_training("llama");
}
