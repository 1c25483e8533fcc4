// Every grid, ZeRO stage and kind of recomputation trains as one rank does, and as PyTorch does:
// the losses of 20 AdamW steps in tests/golden/models come from there.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include <doctest/doctest.h>

#include "libtrain/checkpoint/weights.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/gather.hpp"
#include "libtrain/parallel/model_split.hpp"
#include "libtrain/parallel/plan.hpp"
#include "tests/support/rank_device.hpp"
#include "tests/support/ranked.hpp"

using namespace train;

namespace {

constexpr std::int64_t sequences = 4;
constexpr std::int64_t context = 16;

struct Case {
  int data = 1;
  int context_parallel = 1;
  int tensor = 1;
  Zero zero = Zero::stage0;
  Recompute recompute = Recompute::none;
  bool sequence_parallel = true;
};

struct Curve {
  std::vector<double> losses;
  std::vector<float> parameters;  // all, one behind another, on rank 0
};

std::string path_of(const std::string& model, const char* kind) {
  return std::string(TRAIN_GOLDEN_DIR) + "/" + model + "." + kind + ".safetensors";
}

template <typename T>
std::vector<T> golden(const std::string& model, const std::string& name) {
  const SafetensorsReader file(path_of(model, "golden"));
  const SafetensorsEntry* entry = file.find(name);
  REQUIRE_MESSAGE(entry != nullptr, name);
  std::vector<T> values(static_cast<std::size_t>(entry->elements()));
  file.read(name, std::span(values));
  return values;
}

// A data rank's sequences of the batch; ranks may have different numbers of them.
Batch part_of(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
              const ModelSplit::Range& range) {
  const auto begin = static_cast<std::size_t>(range.begin * context);
  const auto count = static_cast<std::size_t>(range.count * context);
  Batch batch;
  batch.inputs = inputs.subspan(begin, count);
  batch.targets = targets.subspan(begin, count);
  batch.sequences = range.count;
  batch.context = context;
  batch.first_sequence = range.begin;
  batch.tokens_in_step = sequences * context;
  return batch;
}

// The softmax does not feel a key's bias: its gradient is zero but for rounding, which AdamW blows
// up to whole steps in any direction.
void forget_key_biases(std::vector<float>& qkv, const GptConfig& config) {
  if (qkv.empty()) return;
  const auto begin = qkv.begin() + config.heads * config.head_width;
  std::fill(begin, begin + config.kv_heads * config.head_width, 0.0f);
}

Curve train_on(Communicator& world, const std::string& name, const Case& c) {
  const WeightsFile weights(path_of(name, "weights"));
  const auto inputs = golden<std::int32_t>(name, "inputs");
  const auto targets = golden<std::int32_t>(name, "targets");
  const Grid grid(world, {.data = c.data, .context = c.context_parallel, .tensor = c.tensor},
                  test::rank_device(world.rank()));
  Gpt model(weights.config(), grid.device(), {.recompute = c.recompute});
  parallelize(model, grid, megatron_plan(c.sequence_parallel));
  weights.load(model);
  ShardedOptimizer optimizer(model, grid, {.lr = 1e-2f},
                             {.zero = c.zero, .bucket_bytes = 8192, .resident_elements = 40});
  const auto own = even_ranges(sequences, c.data)[static_cast<std::size_t>(grid.batch_part())];
  Curve curve;
  for (int step = 0; step < test::rank_steps(20); ++step) {
    Loss loss = model.loss(part_of(inputs, targets, own));
    loss.backward();
    optimizer.step();
    double sum = loss.value();
    const std::span<double> place(&sum, 1);
    grid.data().all_reduce(place, place, ReduceOp::sum).wait();
    curve.losses.push_back(sum);
  }
  for (const LogicalTensor& tensor : optimizer.parameters()) {
    const auto whole = gather(tensor, world, 0);
    std::vector<float> values(whole.size() / sizeof(float));
    if (!whole.empty()) std::memcpy(values.data(), whole.data(), whole.size());
    if (tensor.name.ends_with("qkv.bias")) forget_key_biases(values, model.config());
    curve.parameters.insert(curve.parameters.end(), values.begin(), values.end());
  }
  return curve;
}

double largest_difference(std::span<const double> found, std::span<const double> expected) {
  REQUIRE(found.size() == expected.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::abs(found[i] - expected[i]) / std::abs(expected[i]));
  }
  return largest;
}

double relative_difference(std::span<const float> found, std::span<const float> expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}

Curve train_alone(Communicator& world, const std::string& name) {
  const auto self = world.split(world.rank(), 0, "self");
  return train_on(*self, name, {});
}

void check_case(Communicator& world, const std::string& name, const Case& c, const Curve& alone) {
  CAPTURE(name);
  CAPTURE(c.data);
  CAPTURE(c.context_parallel);
  CAPTURE(c.tensor);
  CAPTURE(static_cast<int>(c.zero));
  CAPTURE(static_cast<int>(c.recompute));
  CAPTURE(c.sequence_parallel);
  const Curve curve = train_on(world, name, c);
  CHECK(largest_difference(curve.losses, alone.losses) < 1e-4);
  if (world.rank() == 0) CHECK(relative_difference(curve.parameters, alone.parameters) < 1e-4);
}

std::vector<Case> grids_of(int ranks) {
  std::vector<Case> found;
  const std::pair<int, int> grids[] = {{1, 1}, {2, 1}, {1, 2}, {2, 2},
                                       {4, 1}, {1, 4}, {3, 2}, {1, 3}};
  for (const auto& [data, tensor] : grids) {
    if (data * tensor == ranks) found.push_back({.data = data, .tensor = tensor});
  }
  return found;
}

// Whose ranks share sequences by their rows.
std::vector<Case> grids_with_context(int ranks) {
  std::vector<Case> found;
  const Case grids[] = {{1, 2, 1}, {1, 3, 1}, {2, 2, 1}, {1, 2, 2}, {1, 4, 1}, {1, 2, 3}};
  for (const Case& c : grids) {
    if (c.data * c.context_parallel * c.tensor == ranks) found.push_back(c);
  }
  return found;
}

void check_model(Communicator& world, const std::string& name) {
  const Curve alone = train_alone(world, name);
  const auto losses = golden<double>(name, "losses");
  CHECK(largest_difference(alone.losses, std::span(losses).first(alone.losses.size())) < 1e-3);
  for (Case c : grids_of(world.size())) {
    for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
      for (const Recompute recompute : {Recompute::none, Recompute::block}) {
        c.zero = zero;
        c.recompute = recompute;
        check_case(world, name, c, alone);
      }
    }
    c.recompute = Recompute::attention;
    c.sequence_parallel = false;
    check_case(world, name, c, alone);
  }
  for (Case c : grids_with_context(world.size())) {
    check_case(world, name, c, alone);
    c.zero = Zero::stage3;
    c.recompute = Recompute::block;
    check_case(world, name, c, alone);
  }
}

}  // namespace

TEST_CASE("GPT-2 style on every grid, stage and recomputation has one rank's losses") {
  ranked([](Communicator& world) { check_model(world, "gpt2"); });
}

TEST_CASE("Llama style on every grid, stage and recomputation has one rank's losses") {
  ranked([](Communicator& world) { check_model(world, "llama"); });
}
