// What a rank's memory holds is what libtrain/forecast says.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/forecast/activation_forecast.hpp"
#include "libtrain/forecast/memory_forecast.hpp"
#include "libtrain/memory_report.hpp"
#include "libtrain/parallel/plan.hpp"
#include "tests/support/rank_device.hpp"
#include "tests/support/ranked.hpp"

using namespace train;

namespace {

using Case = TrainingShape;

// Buckets small enough that these models have several.
constexpr OptimizerOptions small_buckets{.bucket_bytes = 256 << 10, .resident_elements = 0};

GptConfig model_of(const std::string& text, std::int64_t vocabulary) {
  GptConfig config = parse_model(text);
  config.vocabulary = vocabulary;
  return config;
}

std::string describe(const Case& c) {
  constexpr const char* recomputed[] = {"none", "attention", "block"};
  return fmt::format("{} {} gradients {} data {} context {} tensor {}{} zero {} recompute {}",
                     c.config.mlp == MlpKind::gelu ? "gpt2 " : "llama", name_of(c.type),
                     name_of(c.optimizer.gradient_type), c.data, c.context, c.tensor,
                     c.splits_rows() ? " sequence" : "", static_cast<int>(c.optimizer.zero),
                     recomputed[static_cast<int>(c.recompute)]);
}

/// A model under training on random tokens.
class Training {
 public:
  Training(Communicator& world, const Case& c)
      : c_(c),
        grid_(world, {.data = c.data, .context = c.context, .tensor = c.tensor, .shard = c.shard},
              test::rank_device(world.rank())),
        model_(c.config, grid_.device(), {.type = c.type, .recompute = c.recompute}) {
    c_.gpu = grid_.device().gpu().has_value();
    parallelize(model_, grid_, megatron_plan(c.sequence_parallel));
    optimizer_.emplace(model_, grid_, AdamW{}, c.optimizer);
    const std::int64_t tokens = c.sequences * c.config.context;
    for (std::int64_t i = 0; i <= tokens; ++i) {
      const auto random = static_cast<std::int64_t>((i + grid_.batch_part()) * 2654435761u >> 7);
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
  void step() {
    optimizer_->begin_step(c_.passes);
    std::vector<Loss> losses;
    for (int pass = 0; pass < c_.passes; ++pass) {
      losses.push_back(forward());
      losses.back().backward();
    }
    optimizer_->step();
    for (const Loss& loss : losses) CHECK(std::isfinite(loss.value()));
  }
  MemoryUsage memory() const { return memory_usage(grid_.device()); }
  void reset_peaks() const { reset_memory_peaks(grid_.device()); }
  /// As this rank's memory is forecast.
  const Case& shape() const { return c_; }
  ModelOutline outline() const {
    return {c_.config, {c_.tensor, grid_.tensor().rank(), c_.context, grid_.context().rank()}};
  }

 private:
  Case c_;
  Grid grid_;
  Gpt model_;
  std::optional<ShardedOptimizer> optimizer_;
  std::vector<std::int32_t> tokens_;
};

/// TRAIN_PRINT_MEMORY=1 shows what was measured beside what was forecast.
void compare(Communicator& world, const Case& c, const char* what, std::int64_t measured,
             std::int64_t forecast) {
  if (world.rank() == 0 && std::getenv("TRAIN_PRINT_MEMORY") != nullptr) {
    fmt::print("{:<66} {:<12} measured {:>10} forecast {:>10}\n", describe(c), what, measured,
               forecast);
  }
  INFO(describe(c), ": ", what, " on rank ", world.rank());
  CHECK(measured == forecast);
}

// Every account, to the byte: after a step what stays, during it the most at once.
void check_step(Communicator& world, const Case& c) {
  Training training(world, c);
  training.reset_peaks();
  training.step();
  const MemoryUsage memory = training.memory();
  const MemoryForecast forecast = forecast_memory(training.outline(), training.shape());
  compare(world, c, "parameters", memory.now_of(MemoryUse::parameters), forecast.parameters);
  compare(world, c, "gradients", memory.now_of(MemoryUse::gradients), forecast.gradients);
  compare(world, c, "optimizer", memory.now_of(MemoryUse::optimizer_state),
          forecast.optimizer_state);
  compare(world, c, "activations", memory.peak_of(MemoryUse::activations), forecast.activations);
  compare(world, c, "under way", memory.peak_of(MemoryUse::communication), forecast.communication);
  CHECK(memory.now_of(MemoryUse::activations) == 0);
  CHECK(memory.now_of(MemoryUse::communication) == 0);
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

// State by ZeRO's formulas (Rajbhandari et al.: "ZeRO", SC 2020), for Ψ parameters and N data
// ranks, where a parameter, its gradient and its optimizer state take p, g and o bytes:
//   stage 0: (p + g + o) Ψ   1: (p + g) Ψ + o Ψ / N   2: p Ψ + (g + o) Ψ / N   3: (p + g + o) Ψ / N
double by_the_paper(const Case& c) {
  const auto psi = static_cast<double>(c.config.parameter_count());
  const auto share = [&](Zero divided_from) {
    return c.optimizer.zero >= divided_from ? psi / c.shard_ranks() : psi;
  };
  return static_cast<double>(c.element()) * share(Zero::stage3) +
         static_cast<double>(c.gradient()) * share(Zero::stage2) +
         (c.type == DataType::bf16 ? 12.0 : 8.0) * share(Zero::stage1);
}

std::vector<Case> activation_cases() {
  std::vector<Case> cases;
  for (const GptConfig& config :
       {model_of("layers=3,heads=8,width=64,context=96", 134),
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

TEST_CASE("every stage, with every type, holds what is forecast, and what the paper says") {
  ranked([](Communicator& world) {
    for (const Types& types : all_types) {
      for (const Zero zero : all_stages) {
        Case c{.config = gpt2(), .data = world.size(), .type = types.model};
        c.optimizer = small_buckets;
        c.optimizer.gradient_type = types.gradient;
        c.optimizer.zero = zero;
        check_step(world, c);
        // But for parameters and shards that are rounded to lines.
        const auto state = static_cast<double>(forecast_memory(c).state());
        CHECK(state == doctest::Approx(by_the_paper(c)).epsilon(0.001));
      }
    }
  });
}

TEST_CASE("at stage 3 small parameters may stay whole") {
  ranked([](Communicator& world) {
    for (const std::int64_t resident : {20'000, 100'000}) {
      Case c{.config = gpt2(), .data = world.size()};
      c.optimizer = small_buckets;
      c.optimizer.zero = Zero::stage3;
      c.optimizer.resident_elements = resident;
      c.passes = 2;
      check_step(world, c);
    }
  });
}

TEST_CASE("buckets under way are forecast for one pass and several, any size and any head") {
  ranked([](Communicator& world) {
    for (const GptConfig& config : {gpt2(), llama()}) {
      for (const Zero zero : {Zero::stage2, Zero::stage3}) {
        for (const std::size_t kib : {0, 64, 256, 4096}) {
          for (const int passes : {1, 2, 5}) {
            Case c{.config = config, .data = world.size(), .passes = passes};
            c.optimizer = {.zero = zero, .bucket_bytes = kib << 10, .resident_elements = 1000};
            check_step(world, c);
          }
        }
      }
    }
  });
}

TEST_CASE("tensor parallelism divides, alone and beside data, and unevenly") {
  ranked([](Communicator& world) {
    for (GptConfig config : {gpt2(), llama()}) {
      Case c{.config = config, .tensor = world.size(), .type = DataType::bf16};
      c.optimizer = small_buckets;
      check_step(world, c);
      c.config.heads = c.config.kv_heads = 5;
      c.config.hidden = 333;
      c.config.vocabulary = 509;
      c.sequences = 3;
      for (const bool sequence_parallel : {false, true}) {
        c.sequence_parallel = sequence_parallel;
        check_step(world, c);
      }
      if (world.size() != 4) continue;
      c.data = c.tensor = 2;
      c.optimizer.zero = Zero::stage3;
      check_step(world, c);
    }
  });
}

TEST_CASE("fewer key/value heads than ranks") {
  ranked([](Communicator& world) {
    Case c{.config = llama(), .tensor = world.size(), .sequences = 4};
    c.config.heads = 6;
    c.config.kv_heads = 2;
    c.optimizer = small_buckets;
    check_step(world, c);
  });
}

TEST_CASE("activations follow the formulas, whole and split, kept and recomputed") {
  ranked([](Communicator& world) {
    for (Case c : activation_cases()) {
      c.tensor = world.size();
      check_step(world, c);
      if (world.size() == 1) continue;
      c.sequence_parallel = false;
      check_step(world, c);
    }
  });
}

TEST_CASE("activations of odd shapes, with dropout, and of several passes") {
  ranked([](Communicator& world) {
    for (Case c : activation_cases()) {
      c.tensor = world.size();
      c.config.hidden = 40;
      check_step(world, c);
      c.config.hidden = 640;
      c.sequences = 9;  // rows of more than two blocks of the loss
      c.config.dropout = 0.1f;
      c.passes = 2;
      check_step(world, c);
    }
  });
}

TEST_CASE("ranks that share sequences, alone and beside tensor parallelism, and unevenly") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    for (Case c : activation_cases()) {
      c.context = world.size();
      c.optimizer = small_buckets;
      c.optimizer.zero = Zero::stage2;
      check_step(world, c);
      c.config.hidden = 40;
      c.config.heads = c.config.kv_heads = 1;
      check_step(world, c);
      c.config.hidden = 640;
      c.config.heads = 6;
      c.config.kv_heads = 2;
      c.config.dropout = 0.1f;
      c.config.context = 97;
      c.passes = 2;
      check_step(world, c);
      if (world.size() != 4) continue;
      c.context = c.tensor = 2;
      for (const bool sequence_parallel : {false, true}) {
        c.sequence_parallel = sequence_parallel;
        check_step(world, c);
      }
    }
  });
}

TEST_CASE("shards on some of the data ranks") {
  ranked([](Communicator& world) {
    for (const Zero zero : all_stages) {
      Case c{.config = gpt2(), .data = world.size(), .shard = (world.size() + 1) / 2};
      c.passes = 2;
      c.optimizer = small_buckets;
      c.optimizer.zero = zero;
      check_step(world, c);
      const auto state = static_cast<double>(forecast_memory(c).state());
      CHECK(state == doctest::Approx(by_the_paper(c)).epsilon(0.001));
    }
  });
}

TEST_CASE("at the end of a forward pass the tape keeps what is forecast") {
  ranked([](Communicator& world) {
    for (Case c : activation_cases()) {
      c.tensor = world.size();
      Training training(world, c);
      const Loss loss = training.forward();
      const ActivationForecast forecast(training.outline(), training.shape());
      compare(world, c, "kept", training.memory().now_of(MemoryUse::activations),
              forecast.kept + forecast.loss);
      CHECK(std::isfinite(loss.value()));
      // Sequence parallelism divides all of it.
      Case alone = c;
      alone.tensor = 1;
      CHECK(forecast.kept * world.size() ==
            ActivationForecast(ModelOutline(c.config, {}), alone).kept);
    }
  });
}
