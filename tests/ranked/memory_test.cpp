// What a rank's memory holds is what the formulas of memory_formulas.hpp say.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/memory_report.hpp"
#include "libtrain/parallel/plan.hpp"
#include "tests/ranked/memory_formulas.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using namespace train::memory;

namespace {

// Elements of a line, to which parameters and shards are rounded.
constexpr std::int64_t line = 16;

GptConfig model_of(const std::string& text, std::int64_t vocabulary) {
  GptConfig config = parse_model(text);
  config.vocabulary = vocabulary;
  return config;
}

/// A model under training on random tokens.
class Training {
 public:
  Training(Communicator& world, const Case& c)
      : c_(c),
        grid_(world, {.data = c.data, .tensor = c.tensor}, make_cpu_device(1)),
        model_(c.config, grid_.device(), {.type = c.type, .recompute = c.recompute}) {
    parallelize(model_, grid_, megatron_plan(c.sequence_parallel));
    optimizer_.emplace(model_, grid_, AdamW{}, c.optimizer);
    const std::int64_t tokens = c.sequences * c.config.context;
    for (std::int64_t i = 0; i <= tokens; ++i) {
      const auto random = static_cast<std::int64_t>((i + grid_.data().rank()) * 2654435761u >> 7);
      tokens_.push_back(static_cast<std::int32_t>(random % c.config.vocabulary));
    }
  }

  Loss forward() {
    Batch batch;
    batch.inputs = std::span(tokens_).first(tokens_.size() - 1);
    batch.targets = std::span(tokens_).subspan(1);
    batch.sequences = c_.sequences;
    batch.context = c_.config.context;
    return model_.loss(batch);
  }
  void step(int passes) {
    optimizer_->begin_step(passes);
    for (int pass = 0; pass < passes; ++pass) forward().backward();
    optimizer_->step();
  }
  MemoryUsage memory() const { return memory_usage(grid_.device()); }
  void reset_peaks() const { reset_memory_peaks(grid_.device()); }
  const Gpt& model() const { return model_; }
  const ShardedOptimizer& optimizer() const { return *optimizer_; }

 private:
  Case c_;
  Grid grid_;
  Gpt model_;
  std::optional<ShardedOptimizer> optimizer_;
  std::vector<std::int32_t> tokens_;
};

/// TRAIN_PRINT_MEMORY=1 shows what was measured beside what was expected.
void print(Communicator& world, const Case& c, const char* what, std::int64_t measured,
           std::int64_t expected) {
  if (world.rank() != 0 || std::getenv("TRAIN_PRINT_MEMORY") == nullptr) return;
  fmt::print("{:<66} {:<12} measured {:>10} formula {:>10}\n", describe(c), what, measured,
             expected);
}

void compare(Communicator& world, const Case& c, const char* what, std::int64_t measured,
             std::int64_t expected, std::int64_t slack) {
  print(world, c, what, measured, expected);
  INFO(describe(c), ": ", what);
  CHECK(std::abs(measured - expected) <= slack);
  CHECK(std::abs(measured - expected) <= expected / 20);
}

// What stage 3 does not divide.
std::int64_t resident(const Training& training, const Case& c) {
  std::int64_t elements = 0;
  for (const auto& parameter : training.model().parameters()) {
    if (parameter->shape().elements() > c.optimizer.resident_elements) continue;
    elements += parameter->local_shape().elements();
  }
  return elements;
}

void check_state(Communicator& world, const Case& c) {
  Training training(world, c);
  training.step(1);
  const MemoryUsage memory = training.memory();
  const std::int64_t all = parameters_of(c);
  const std::int64_t shard = all / c.data;
  const std::int64_t stays = resident(training, c);
  const Zero zero = c.optimizer.zero;
  // A parameter's end is rounded to a line, a bucket's to a line for each data rank.
  const auto parameters = static_cast<std::int64_t>(training.model().parameters().size());
  const auto buckets = static_cast<std::int64_t>(training.optimizer().buckets().size());
  const std::int64_t slack = (parameters + buckets * c.data) * line;
  const std::int64_t state = c.type == DataType::bf16 ? 12 : 8;
  compare(world, c, "parameters", memory.now_of(MemoryUse::parameters),
          c.element() * (zero == Zero::stage3 ? stays + (all - stays) / c.data : all),
          c.element() * slack);
  compare(world, c, "gradients", memory.now_of(MemoryUse::gradients),
          c.gradient() * (zero >= Zero::stage2 ? shard : all), c.gradient() * slack);
  compare(world, c, "optimizer", memory.now_of(MemoryUse::optimizer_state),
          state * (zero == Zero::stage0 ? all : shard), state * slack);
  CHECK(memory.now_of(MemoryUse::activations) == 0);
  CHECK(memory.now_of(MemoryUse::communication) == 0);
  if (zero < Zero::stage2) CHECK(memory.peak_of(MemoryUse::communication) == 0);
}

struct Types {
  DataType model;
  DataType gradient;
};
constexpr Types all_types[] = {{DataType::f32, DataType::f32},
                               {DataType::bf16, DataType::f32},
                               {DataType::bf16, DataType::bf16}};
constexpr Zero all_stages[] = {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};

// About a million parameters each.
GptConfig gpt2() {
  return model_of("layers=5,heads=8,width=128,context=16", 512);
}
GptConfig llama() {
  return model_of("llama,layers=5,heads=8,kv_heads=4,width=128,hidden=352,context=16", 512);
}

std::int64_t largest_bucket(const ShardedOptimizer& optimizer) {
  std::int64_t largest = 0;
  for (const Bucket& bucket : optimizer.buckets()) largest = std::max(largest, bucket.elements);
  return largest;
}

bool holds(const Bucket& bucket, const ModelUnit& unit) {
  return std::ranges::any_of(bucket.places, [&](const Bucket::Place& place) {
    return std::ranges::find(unit.parameters, place.parameter) != unit.parameters.end();
  });
}

// The most elements that two units which run one after the other gather.
std::int64_t largest_neighbours(const Training& training) {
  std::int64_t largest = 0;
  std::int64_t before = 0;
  for (const ModelUnit& unit : training.model().units()) {
    std::int64_t own = 0;
    for (const Bucket& bucket : training.optimizer().buckets()) {
      if (bucket.gathered && holds(bucket, unit)) own += bucket.elements;
    }
    largest = std::max(largest, before + own);
    before = own;
  }
  return largest;
}

// Stages 2 and 3: one bucket of gradients fills while one travels. A tied head's gradient begins in
// the forward pass, so that its bucket is there all the time beside them.
void check_in_flight(Communicator& world, const Case& c) {
  Training training(world, c);
  training.reset_peaks();
  training.step(2);
  const std::int64_t buckets = c.config.tied_head ? 3 : 2;
  std::int64_t bound = buckets * largest_bucket(training.optimizer()) * c.gradient();
  if (c.optimizer.zero == Zero::stage3) bound += largest_neighbours(training) * c.element();
  const std::int64_t peak = training.memory().peak_of(MemoryUse::communication);
  print(world, c, "in flight", peak, bound);
  INFO(describe(c));
  CHECK(peak <= bound);
  CHECK(peak >= bound / 4);
}

void check_activations(Communicator& world, const Case& c) {
  Training training(world, c);
  training.reset_peaks();
  Loss loss = training.forward();
  compare(world, c, "kept", training.memory().now_of(MemoryUse::activations),
          kept_bytes(c) + loss_bytes(c), 0);
  loss.backward();
  compare(world, c, "peak", training.memory().peak_of(MemoryUse::activations), peak_bytes(c), 0);
  CHECK(training.memory().now_of(MemoryUse::activations) == loss_bytes(c));
  CHECK(std::isfinite(loss.value()));
  CHECK(training.memory().now_of(MemoryUse::activations) == 0);
}

std::vector<Case> activation_cases() {
  std::vector<Case> cases;
  for (const GptConfig& config :
       {model_of("layers=3,heads=8,width=64,context=96", 128),
        model_of("llama,layers=3,heads=8,kv_heads=4,width=64,hidden=192,context=96", 1024)}) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      for (const Recompute recompute : {Recompute::none, Recompute::attention, Recompute::block}) {
        cases.push_back({.config = config, .type = type, .recompute = recompute, .sequences = 3});
      }
    }
  }
  return cases;
}

}  // namespace

TEST_CASE("parameters, gradients and the optimizer's state follow ZeRO's formulas") {
  ranked([](Communicator& world) {
    for (const Types& types : all_types) {
      for (const Zero zero : all_stages) {
        Case c{.config = gpt2(), .data = world.size(), .type = types.model};
        c.optimizer.gradient_type = types.gradient;
        c.optimizer.zero = zero;
        check_state(world, c);
      }
    }
    for (const Zero zero : {Zero::stage1, Zero::stage3}) {
      Case c{.config = llama(), .data = world.size()};
      c.optimizer.zero = zero;
      check_state(world, c);
    }
  });
}

TEST_CASE("at stage 3 small parameters may stay whole") {
  ranked([](Communicator& world) {
    Case c{.config = gpt2(), .data = world.size()};
    c.optimizer.zero = Zero::stage3;
    c.optimizer.resident_elements = 20'000;
    check_state(world, c);
  });
}

TEST_CASE("tensor parallelism divides parameters and their state, alone and beside data") {
  ranked([](Communicator& world) {
    for (const GptConfig& config : {gpt2(), llama()}) {
      Case c{.config = config, .tensor = world.size(), .type = DataType::bf16};
      check_state(world, c);
      if (world.size() != 4) continue;
      c.data = c.tensor = 2;
      c.optimizer.zero = Zero::stage3;
      check_state(world, c);
    }
  });
}

TEST_CASE("gradients on their way and gathered parameters take two buckets and two units") {
  ranked([](Communicator& world) {
    for (const GptConfig& config : {gpt2(), llama()}) {
      for (const Zero zero : {Zero::stage2, Zero::stage3}) {
        Case c{.config = config, .data = world.size()};
        c.optimizer.zero = zero;
        check_in_flight(world, c);
      }
    }
  });
}

TEST_CASE("activations follow the formulas, whole and split, kept and recomputed") {
  ranked([](Communicator& world) {
    for (Case c : activation_cases()) {
      c.tensor = world.size();
      check_activations(world, c);
      if (world.size() == 1) continue;
      c.sequence_parallel = false;
      check_activations(world, c);
    }
  });
}

TEST_CASE("sequence parallelism divides every activation, and no dropout keeps a mask") {
  ranked([](Communicator& world) {
    const auto self = world.split(world.rank(), 0, "self");
    for (Case c : activation_cases()) {
      if (c.recompute == Recompute::attention) continue;
      const auto kept = [&](Communicator& ranks, bool sequence_parallel) {
        c.tensor = ranks.size();
        c.sequence_parallel = sequence_parallel;
        Training training(ranks, c);
        const Loss loss = training.forward();
        CHECK(std::isfinite(loss.value()));
        return training.memory().now_of(MemoryUse::activations);
      };
      const std::int64_t alone = kept(*self, false);
      c.config.dropout = 0.1f;
      const std::int64_t divided = kept(world, true);
      const std::int64_t whole = kept(world, false);
      INFO(describe(c));
      CHECK(divided * world.size() == alone);
      // What lies between the layers is on every rank otherwise.
      const Kept part(c);
      const std::int64_t streams = c.recompute == Recompute::block ? 1 : 4;
      const std::int64_t norms = c.recompute == Recompute::block ? 0 : 2;
      const std::int64_t between = (c.config.layers * streams + 2) * part.stream +
                                   (c.config.layers * norms + 1) * part.statistics;
      CHECK(whole - divided == between - between / world.size());
    }
  });
}
