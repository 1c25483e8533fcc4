// The whole model's gradient, in f64 on the reference ops, against central differences.

#include <cmath>

#include <doctest/doctest.h>

#include "tests/unit/model/small_models.hpp"

using namespace train;

namespace {

// Recording, because dropout acts only then.
double loss_at(Gpt& model, const Batch& batch) {
  return model.loss(batch).value();
}

std::vector<std::vector<double>> gradients_of(Gpt& model, const Batch& batch) {
  small::give_gradients(model);
  model.loss(batch).backward();
  std::vector<std::vector<double>> gradients;
  for (const auto& parameter : model.parameters()) {
    const auto gradient = parameter->gradient().span<double>();
    gradients.emplace_back(gradient.begin(), gradient.end());
  }
  return gradients;
}

// Largest difference over a few elements of every parameter, relative to the gradient's size.
double worst_difference(Gpt& model, const Batch& batch) {
  const auto gradients = gradients_of(model, batch);
  double worst = 0.0;
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    const Parameter* parameter = model.parameters()[p].get();
    const auto values = parameter->value().span<double>();
    const auto& gradient = gradients[p];
    for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 5) {
      constexpr double h = 1e-5;
      const double value = values[i];
      values[i] = value + h;
      const double up = loss_at(model, batch);
      values[i] = value - h;
      const double down = loss_at(model, batch);
      values[i] = value;
      const double expected = (up - down) / (2 * h);
      CAPTURE(parameter->name());
      CAPTURE(i);
      const double difference = std::abs(gradient[i] - expected) / (1e-3 + std::abs(expected));
      CHECK(difference < 1e-5);
      worst = std::max(worst, difference);
    }
  }
  return worst;
}

void check_gradients(GptConfig config) {
  const auto device = make_reference_device();
  Gpt model(config, *device, {DataType::f64, 3});
  const small::Tokens tokens(config, 3);
  MESSAGE("largest relative difference " << worst_difference(model, tokens.batch()));
}

}  // namespace

TEST_CASE("GPT-2 style gradients match finite differences") {
  check_gradients(small::gpt2());
}

TEST_CASE("Llama style gradients match finite differences") {
  check_gradients(small::llama());
}

TEST_CASE("gradients match finite differences with dropout") {
  GptConfig config = small::gpt2();
  config.dropout = 0.3f;
  check_gradients(config);
}

TEST_CASE("an untied GPT-2 and a tied Llama have right gradients too") {
  GptConfig untied = small::gpt2();
  untied.tied_head = false;
  untied.bias = false;
  check_gradients(untied);
  GptConfig tied = small::llama();
  tied.tied_head = true;
  tied.bias = true;
  check_gradients(tied);
}

TEST_CASE("gradients of micro-batches add up to the batch's") {
  const GptConfig config = small::llama();
  const auto device = make_reference_device();
  Gpt whole(config, *device, {DataType::f64, 3});
  Gpt parts(config, *device, {DataType::f64, 3});
  const small::Tokens tokens(config, 4);
  small::give_gradients(whole);
  small::give_gradients(parts);
  Loss loss = whole.loss(tokens.batch());
  loss.backward();
  double sum = 0.0;
  for (const std::int64_t first : {0, 1, 3}) {
    Loss part = parts.loss(tokens.part(first, first == 1 ? 2 : 1));
    part.backward();
    sum += part.value();
  }
  CHECK(sum == doctest::Approx(loss.value()).epsilon(1e-12));
  for (std::size_t i = 0; i < whole.parameters().size(); ++i) {
    const auto expected = whole.parameters()[i]->gradient().span<double>();
    const auto found = parts.parameters()[i]->gradient().span<double>();
    for (std::size_t j = 0; j < expected.size(); ++j) {
      CAPTURE(whole.parameters()[i]->name());
      REQUIRE(found[j] == doctest::Approx(expected[j]).epsilon(1e-9));
    }
  }
}
