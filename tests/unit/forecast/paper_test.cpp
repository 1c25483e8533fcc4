// The forecast beside what the papers say of known models. Where it differs, the test says why.

#include <doctest/doctest.h>

#include "libtrain/forecast/activation_forecast.hpp"
#include "libtrain/forecast/memory_forecast.hpp"

using namespace train;

namespace {

constexpr double gb = 1e9;

GptConfig gpt(std::int64_t layers, std::int64_t heads, std::int64_t width, std::int64_t context,
              std::int64_t vocabulary) {
  GptConfig config = parse_model("gpt2-124m");
  config.layers = layers;
  config.heads = config.kv_heads = heads;
  config.width = width;
  config.head_width = width / heads;
  config.hidden = 4 * width;
  config.context = context;
  config.vocabulary = vocabulary;
  return config;
}

TrainingShape mixed(const GptConfig& config, int data, Zero zero) {
  TrainingShape shape{.config = config, .data = data, .type = DataType::bf16};
  shape.optimizer = {.zero = zero, .gradient_type = DataType::bf16, .resident_elements = 0};
  shape.gpu = true;
  return shape;
}

}  // namespace

TEST_CASE("ZeRO: 1.5 billion parameters take at least 24 GB") {
  // Section 3.1: 16 bytes for each of 1.5 billion, with gradients in 16 bits.
  const TrainingShape shape = mixed(parse_model("gpt2-1558m"), 1, Zero::stage0);
  const MemoryForecast memory = forecast_memory(shape);
  const auto parameters = static_cast<double>(shape.config.parameter_count());
  CHECK(static_cast<double>(memory.state()) == doctest::Approx(16 * parameters).epsilon(1e-4));
  CHECK(16 * 1.5e9 == 24 * gb);
  // Our gradients are f32 unless asked otherwise: 2 bytes more each.
  TrainingShape wide = shape;
  wide.optimizer.gradient_type = DataType::f32;
  CHECK(static_cast<double>(forecast_memory(wide).state()) ==
        doctest::Approx(18 * parameters).epsilon(1e-4));
}

TEST_CASE("ZeRO's figure 1: 7.5 billion parameters on 64 GPUs") {
  // 120, 31.4, 16.6 and 1.9 GB; 36 layers of width 4096 with a vocabulary of 50257 are 7.47
  // billion.
  const GptConfig config = gpt(36, 32, 4096, 1024, 50257);
  CHECK(static_cast<double>(config.parameter_count()) == doctest::Approx(7.46e9).epsilon(0.01));
  const double published[] = {120.0, 31.4, 16.6, 1.9};
  const Zero stages[] = {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};
  for (std::size_t i = 0; i < 4; ++i) {
    const double state =
        static_cast<double>(forecast_memory(mixed(config, 64, stages[i])).state()) / gb;
    CAPTURE(i);
    CHECK(state == doctest::Approx(published[i]).epsilon(0.02));
  }
}

TEST_CASE("Korthikanti et al.: activations of a layer of GPT-3 175B on 8 tensor ranks") {
  // Table 2 with s = 2048, b = 1, h = 12288, a = 96, t = 8, in bytes; equations 2, 4 and section 5.
  const double sbh = 2048.0 * 12288;
  const double scores = 5.0 * 96 * 2048 / 12288;  // 5 a s / h = 80
  TrainingShape shape{
      .config = gpt(96, 96, 12288, 2048, 51200), .tensor = 8, .type = DataType::bf16};
  const auto layer = [&](bool sequence_parallel, Recompute recompute) {
    shape.sequence_parallel = sequence_parallel;
    shape.recompute = recompute;
    const ModelOutline outline(shape.config, {.tensor_ranks = 8});
    return static_cast<double>(ActivationForecast(outline, shape).block) / sbh;
  };
  // Ours: 8 + 24 / t and 32 / t beside statistics, that is 10 + 24 / t less the masks of dropout,
  // which counters draw again. The scores are never kept: selective recomputation is how it works.
  CHECK(layer(false, Recompute::none) == doctest::Approx(10 + 24.0 / 8 - 2).epsilon(0.005));
  CHECK(layer(true, Recompute::none) == doctest::Approx((34.0 - 2) / 8).epsilon(0.005));
  CHECK(layer(true, Recompute::none) < (34 + scores) / 8 / 3.4);
  // A recomputed block keeps its input, 2 s b h, and with split rows an eighth of it.
  CHECK(layer(false, Recompute::block) == 2.0);
  CHECK(layer(true, Recompute::block) == 2.0 / 8);
}
