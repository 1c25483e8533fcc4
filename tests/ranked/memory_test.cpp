// What a rank's memory holds is what the papers' formulas say.
//
// State (Rajbhandari et al.: "ZeRO", SC 2020), in bytes for Ψ parameters and N data ranks, where a
// parameter, a gradient and the optimizer's state take p, g and o bytes:
//   stage 0: (p + g + o) Ψ   1: (p + g) Ψ + o Ψ / N   2: p Ψ + (g + o) Ψ / N   3: (p + g + o) Ψ / N
// f32 has p = g = 4 and o = 8, two moments. bf16 has p = 2, o = 12 with the f32 copy, and g = 4 or
// 2. Tensor parallelism makes Ψ a rank's own parameters: all but the norms, the positions and the
// writers' biases are divided by t.
//
// Activations (Korthikanti et al.: "Reducing activation recomputation in large transformer models",
// MLSys 2023, equations 1 to 4), restated for what the tape keeps. With M = sequences · context
// rows, m of them on this rank between the split layers (M / t with sequence parallelism, else M),
// e bytes per element, width C, hidden F, a query and k key heads of width d:
//   both norms' inputs and outputs                              4 C e m
//   and their statistics: mean and 1/deviation, RMS norm has one    8 · 2 m, or 4 · 2 m
//   qkv and attention's output                     (2 a + 2 k) d e M / t
//   its log-sum-exp                                       4 a M / t
//   the MLP: input and output of GELU, or gate, up and product   2 F e M / t, or 3 F e M / t
// No matrix of context × context is kept, and no mask of a dropout, which counters give again. For
// GPT-2 that is 16 C e M: 32 s b h in bf16 where the paper has 34 + 5 a s / h. Recomputed attention
// leaves qkv, output and log-sum-exp out, a recomputed block keeps its input alone: C e m.
// After the blocks: the final norm's input and statistics, and the gradient of its output, which
// the loss has written already.

#include <algorithm>
#include <cstdlib>
#include <optional>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/memory_report.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/plan.hpp"
#include "tests/support/ranked.hpp"

using namespace train;

namespace {

// Elements of a line, to which parameters and shards are rounded.
constexpr std::int64_t line = 16;
// Rows of logits that exist at once.
constexpr std::int64_t head_rows = 256;

struct Case {
  GptConfig config;
  int data = 1;
  int tensor = 1;
  bool sequence_parallel = true;
  DataType type = DataType::f32;
  Recompute recompute = Recompute::none;
  OptimizerOptions optimizer{.bucket_bytes = 256 << 10, .resident_elements = 0};
  std::int64_t sequences = 1;  // of each data rank

  std::int64_t element() const { return static_cast<std::int64_t>(size_of(type)); }
  std::int64_t gradient() const {
    return static_cast<std::int64_t>(size_of(optimizer.gradient_type));
  }
  bool split_rows() const { return sequence_parallel && tensor > 1; }
};

GptConfig model_of(const std::string& text, std::int64_t vocabulary) {
  GptConfig config = parse_model(text);
  config.vocabulary = vocabulary;
  return config;
}

std::string describe(const Case& c) {
  constexpr const char* recomputed[] = {"none", "attention", "block"};
  return fmt::format("{} {} gradients {} data {} tensor {}{} zero {} recompute {}",
                     c.config.mlp == MlpKind::gelu ? "gpt2 " : "llama", name_of(c.type),
                     name_of(c.optimizer.gradient_type), c.data, c.tensor,
                     c.split_rows() ? " sequence" : "", static_cast<int>(c.optimizer.zero),
                     recomputed[static_cast<int>(c.recompute)]);
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
  /// Returns the gradient's norm.
  double step(int passes) {
    optimizer_->begin_step(passes);
    for (int pass = 0; pass < passes; ++pass) forward().backward();
    return optimizer_->step();
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

/// Measured beside expected; TRAIN_PRINT_MEMORY=1 shows all of them.
void compare(Communicator& world, const Case& c, const char* what, std::int64_t measured,
             std::int64_t expected, std::int64_t slack) {
  if (world.rank() == 0 && std::getenv("TRAIN_PRINT_MEMORY") != nullptr) {
    fmt::print("{:<66} {:<12} measured {:>10} formula {:>10}\n", describe(c), what, measured,
               expected);
  }
  INFO(describe(c), ": ", what);
  CHECK(std::abs(measured - expected) <= slack);
  CHECK(std::abs(measured - expected) <= expected / 20);
}

// Parameters of one rank; everything divides.
std::int64_t parameters_of(const Case& c) {
  const GptConfig& g = c.config;
  const std::int64_t t = c.tensor;
  const std::int64_t heads = g.heads * g.head_width;
  const std::int64_t qkv = (g.heads + 2 * g.kv_heads) * g.head_width;
  const std::int64_t up = g.mlp == MlpKind::swiglu ? 2 * g.hidden : g.hidden;
  const std::int64_t norm = g.norm == Norm::rms_norm ? g.width : 2 * g.width;
  std::int64_t block = (qkv + heads + up + g.hidden) * g.width / t + 2 * norm;
  if (g.bias) block += (qkv + up) / t + 2 * g.width;
  std::int64_t rest = g.vocabulary * g.width / t + norm;
  if (!g.tied_head) rest += g.vocabulary * g.width / t;
  if (g.positions == Positions::learned) rest += g.context * g.width;
  return g.layers * block + rest;
}

void check_state(Communicator& world, const Case& c) {
  Training training(world, c);
  training.step(1);
  const MemoryUsage memory = training.memory();
  const std::int64_t all = parameters_of(c);
  const std::int64_t shard = all / c.data;
  const Zero zero = c.optimizer.zero;
  // A parameter's end and a shard's end are each rounded to a line.
  const auto lines = static_cast<std::int64_t>(training.model().parameters().size() +
                                               training.optimizer().buckets().size());
  const std::int64_t slack = lines * line;
  const std::int64_t state = c.type == DataType::bf16 ? 12 : 8;
  compare(world, c, "parameters", memory.now_of(MemoryUse::parameters),
          c.element() * (zero == Zero::stage3 ? shard : all), c.element() * slack);
  compare(world, c, "gradients", memory.now_of(MemoryUse::gradients),
          c.gradient() * (zero >= Zero::stage2 ? shard : all), c.gradient() * slack);
  compare(world, c, "optimizer", memory.now_of(MemoryUse::optimizer_state),
          state * (zero == Zero::stage0 ? all : shard), state * slack);
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

std::vector<GptConfig> state_models() {
  return {model_of("layers=6,heads=8,width=128,context=16", 512),
          model_of("llama,layers=6,heads=8,kv_heads=4,width=128,hidden=352,context=16", 512)};
}

}  // namespace

TEST_CASE("parameters, gradients and the optimizer's state follow ZeRO's formulas") {
  ranked([](Communicator& world) {
    for (const GptConfig& config : state_models()) {
      Case c{.config = config};
      for (const Types& types : all_types) {
        c.type = types.model;
        c.optimizer.gradient_type = types.gradient;
        for (const Zero zero : all_stages) {
          c.optimizer.zero = zero;
          c.data = world.size();
          c.tensor = 1;
          check_state(world, c);
        }
        if (world.size() == 1) continue;
        c.data = 1;
        c.tensor = world.size();
        c.optimizer.zero = Zero::stage0;
        check_state(world, c);
      }
    }
  });
}
