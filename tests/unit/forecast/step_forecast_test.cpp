#include "libtrain/forecast/step_forecast.hpp"

#include <doctest/doctest.h>

#include "libtrain/metrics/flops.hpp"

using namespace train;

namespace {

constexpr DeviceRates device{.flops = 1e12, .memory_bytes = 1e15};

GptConfig model() {
  GptConfig config = parse_model("layers=6,heads=8,width=512,context=256");
  config.vocabulary = 8192;
  return config;
}

StepForecast forecast(const TrainingShape& shape, double rate, double latency_s = 0.0,
                      const DeviceRates& rates = device) {
  const ModelOutline outline(shape.config,
                             {.tensor_ranks = shape.tensor, .context_ranks = shape.context});
  return forecast_step(outline, outline.buckets(shape), shape, rates,
                       {.ranks_per_node = 64,
                        .node_rate = rate,
                        .network_rate = rate,
                        .latency_s = latency_s,
                        .rings = false});
}

TrainingShape shape_of(int data, int tensor, Zero zero = Zero::stage0) {
  TrainingShape shape{.config = model(), .data = data, .tensor = tensor, .sequences = 8};
  shape.optimizer.zero = zero;
  shape.gpu = true;
  return shape;
}

double product_s(const TrainingShape& shape) {
  const GptConfig& config = shape.config;
  return static_cast<double>(shape.rows() * shape.passes) *
         flops_per_token(
             {config.multiplied_parameter_count(), config.layers, config.width, config.context}) /
         device.flops;
}

constexpr double fast = 1e18, slow = 1e6;

}  // namespace

TEST_CASE("a rank alone takes as long as MFU says") {
  TrainingShape shape = shape_of(1, 1);
  for (const int passes : {1, 2, 3, 7}) {
    shape.passes = passes;
    const StepForecast step = forecast(shape, slow);
    // But for norms and biases, which multiply nothing.
    CHECK(step.passes_s == doctest::Approx(product_s(shape)).epsilon(0.002));
    CHECK(step.tensor_s == 0.0);
    CHECK(step.data_s == 0.0);
    CHECK(step.limit() == "computing");
  }
}

TEST_CASE("a speed that was measured comes out again") {
  TrainingShape shape = shape_of(1, 1);
  shape.passes = 2;
  const double memory_bytes = 1e10;
  const double tokens_per_s = 2000.0;
  const DeviceRates measured{.flops = flops_measured(shape, tokens_per_s, memory_bytes),
                             .memory_bytes = memory_bytes};
  CHECK(2.0 * static_cast<double>(shape.rows()) / forecast(shape, slow, 0.0, measured).seconds() ==
        doctest::Approx(tokens_per_s).epsilon(0.01));
}

TEST_CASE("tensor ranks divide the work, and recomputation adds a forward pass of the blocks") {
  CHECK(forecast(shape_of(1, 4), fast).passes_s ==
        doctest::Approx(product_s(shape_of(1, 4)) / 4).epsilon(0.005));
  TrainingShape shape = shape_of(1, 1);
  const double none = forecast(shape, fast).passes_s;
  shape.recompute = Recompute::attention;
  const double attention = forecast(shape, fast).passes_s;
  shape.recompute = Recompute::block;
  const double block = forecast(shape, fast).passes_s;
  shape.config.vocabulary = 1;
  // All but the head goes forward once more: a third.
  CHECK(block - none == doctest::Approx(product_s(shape) / 3).epsilon(0.01));
  CHECK(attention > none);
  CHECK(attention < block);
}

TEST_CASE("exchanges of a fast network are hidden, but for the last bucket") {
  for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
    const TrainingShape shape = shape_of(8, 1, zero);
    CHECK(forecast(shape, fast).data_s < 1e-6);
    // All bytes take half a backward pass. Stage 0 hides most of them; stages 1 and 2 gather values
    // behind it, one of two halves.
    const double psi = 4.0 * static_cast<double>(shape.config.parameter_count());
    const StepForecast step = forecast(shape, 2 * psi * 7 / 8 / (product_s(shape) / 3));
    CAPTURE(static_cast<int>(zero));
    CHECK(step.data_s > 0.0);
    CHECK(step.data_s < 0.7 * product_s(shape) / 3);
  }
}

TEST_CASE("over a slow network a step takes as long as its bytes") {
  const double psi = 4.0 * static_cast<double>(model().parameter_count()) * 7 / 8;
  const auto seconds = [](Zero zero, int passes) {
    TrainingShape shape = shape_of(8, 1, zero);
    shape.passes = passes;
    return forecast(shape, slow).seconds() * slow;
  };
  CHECK(seconds(Zero::stage0, 1) == doctest::Approx(2 * psi).epsilon(0.02));
  CHECK(seconds(Zero::stage1, 1) == doctest::Approx(2 * psi).epsilon(0.02));
  CHECK(seconds(Zero::stage2, 1) == doctest::Approx(2 * psi).epsilon(0.02));
  CHECK(seconds(Zero::stage3, 1) == doctest::Approx(3 * psi).epsilon(0.02));
  // Stages 0 and 1 exchange in the last pass alone.
  CHECK(seconds(Zero::stage0, 8) == doctest::Approx(2 * psi).epsilon(0.02));
  CHECK(seconds(Zero::stage2, 8) == doctest::Approx(9 * psi).epsilon(0.02));
  CHECK(seconds(Zero::stage3, 8) == doctest::Approx(24 * psi).epsilon(0.02));
  CHECK(forecast(shape_of(8, 1), slow).limit() == "data group");
}

TEST_CASE("a tensor group is waited for, but where readers compute meanwhile") {
  TrainingShape shape = shape_of(1, 4);
  shape.sequence_parallel = false;
  const double exchange = static_cast<double>(shape.rows() * shape.config.width) * 4 * 3 / 4;
  // Slow: every all-reduce counts, 4 a layer and 2, of two halves each, less what readers hide.
  const StepForecast step = forecast(shape, slow);
  CHECK(step.tensor_s * slow ==
        doctest::Approx((4.0 * shape.config.layers + 2) * 2 * exchange).epsilon(0.02));
  CHECK(step.limit() == "tensor group");
  // Moderate: those of the two writers of a layer and the ends, and no more.
  const double rate = 2 * exchange / (0.005 * forecast(shape, fast).passes_s);
  CHECK(forecast(shape, rate).tensor_s * rate ==
        doctest::Approx((2.0 * shape.config.layers + 2) * 2 * exchange).epsilon(0.02));
}

TEST_CASE("the optimizer is shared out from stage 1 on, and counts by the bytes that it moves") {
  const DeviceRates rates{.flops = 1e18, .memory_bytes = 1e9};
  const auto elements = static_cast<double>(model().parameter_count());
  const double seconds = elements * (28 + 4) / rates.memory_bytes;  // and 4 of the norm
  CHECK(forecast(shape_of(8, 1), fast, 0.0, rates).optimizer_s ==
        doctest::Approx(seconds).epsilon(0.001));
  CHECK(forecast(shape_of(8, 1, Zero::stage1), fast, 0.0, rates).optimizer_s ==
        doctest::Approx(seconds / 8).epsilon(0.001));
}

TEST_CASE("on processors nothing is hidden for free: exchanges take the time of the same cores") {
  for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
    TrainingShape shape = shape_of(8, 1, zero);
    // As many bytes as would be hidden, but for the ends.
    const double psi = 4.0 * static_cast<double>(shape.config.parameter_count()) * 7 / 8;
    const double rate = 20 * psi / product_s(shape);
    const double hidden = forecast(shape, rate).data_s;
    shape.gpu = false;
    const double copied = forecast(shape, rate).data_s;
    CAPTURE(static_cast<int>(zero));
    CHECK(hidden < 0.7 * copied);
    CHECK(copied * rate == doctest::Approx((zero == Zero::stage3 ? 3 : 2) * psi).epsilon(0.02));
  }
}
