#include "libtrain/model/generator.hpp"

#include <cmath>
#include <map>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/support/to_host.hpp"
#include "tests/unit/model/small_models.hpp"

using namespace train;
using train::test::to_host;

TEST_CASE("generation with a cache gives the logits of the whole context") {
  const auto device = make_reference_device();
  for (const GptConfig& config : {small::gpt2(), small::llama(), small::stretched_llama()}) {
    Gpt model(config, *device, {DataType::f32, 5});
    const small::Tokens tokens(config, 1);
    const auto expected = to_host(model.logits(tokens.batch()));
    const auto vocabulary = static_cast<std::size_t>(config.vocabulary);
    KeyValueCache cache = model.new_cache(1);
    // A prompt of three at once, then one by one.
    std::vector<float> found = to_host(model.extend(std::span(tokens.inputs).first(3), cache));
    for (std::size_t i = 2; i < 6; ++i) {
      if (i > 2) found = to_host(model.extend(std::span(tokens.inputs).subspan(i, 1), cache));
      for (std::size_t j = 0; j < vocabulary; ++j) {
        REQUIRE(found[j] == doctest::Approx(expected[i * vocabulary + j]).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("memory for the tokens that there will be is enough") {
  const auto device = make_reference_device();
  Gpt model(small::llama(), *device, {DataType::f32, 5});
  CHECK(model.new_cache(1).capacity() == 6);
  CHECK(model.new_cache(1, 100).capacity() == 6);
  CHECK(model.new_cache(1, 4).capacity() == 4);
  Generator whole(model, {.temperature = 0.0f}), part(model, {.temperature = 0.0f}, 4);
  const std::vector<std::int32_t> prompt{1, 2};
  whole.begin(prompt);
  part.begin(prompt);
  for (int i = 0; i < 2; ++i) CHECK(whole.next() == part.next());
}

TEST_CASE("scaled positions give other logits") {
  const auto device = make_reference_device();
  GptConfig plain = small::stretched_llama();
  plain.rope_scaling.reset();
  const small::Tokens tokens(plain, 1);
  Gpt with(small::stretched_llama(), *device, {DataType::f32, 5});
  Gpt without(plain, *device, {DataType::f32, 5});
  CHECK(to_host(with.logits(tokens.batch())) != to_host(without.logits(tokens.batch())));
}

TEST_CASE("greedy generation is deterministic and goes on past the context") {
  const auto device = make_reference_device();
  Gpt model(small::llama(), *device, {DataType::f32, 5});
  const std::vector<std::int32_t> prompt{1, 2, 3};
  std::vector<std::int32_t> texts[2];
  for (auto& text : texts) {
    Generator generator(model, {.temperature = 0.0f});
    generator.begin(prompt);
    for (int i = 0; i < 20; ++i) text.push_back(generator.next());
  }
  CHECK(texts[0] == texts[1]);
  Generator generator(model, {});
  CHECK_THROWS_AS(generator.begin({}), Error);
}

TEST_CASE("the sampler draws from softmax, top-k and top-p") {
  const std::vector<float> logits{std::log(0.5f), std::log(0.1f), std::log(0.3f), std::log(0.1f)};
  const auto frequencies = [&](SamplingOptions options) {
    Sampler sampler(options);
    std::map<std::int32_t, double> counts;
    for (int i = 0; i < 20000; ++i) counts[sampler.pick(logits)] += 1.0 / 20000;
    return counts;
  };
  auto all = frequencies({});
  CHECK(all[0] == doctest::Approx(0.5).epsilon(0.03));
  CHECK(all[1] == doctest::Approx(0.1).epsilon(0.1));
  CHECK(all[2] == doctest::Approx(0.3).epsilon(0.05));
  auto two = frequencies({.top_k = 2});
  CHECK(two.size() == 2);
  CHECK(two[0] == doctest::Approx(0.625).epsilon(0.03));
  CHECK(frequencies({.top_p = 0.75f}).size() == 2);
  CHECK(frequencies({.top_p = 0.85f}).size() == 3);  // of equals, the lower token first
  CHECK(frequencies({.top_k = 1}).size() == 1);
  auto hot = frequencies({.temperature = 100.0f});
  CHECK(hot[1] == doctest::Approx(0.25).epsilon(0.1));
  CHECK(frequencies({.temperature = 0.0f}).size() == 1);
  const std::vector<float> diverged{0.0f, std::nanf(""), 1.0f};
  for (const float temperature : {0.0f, 1.0f}) {
    CHECK_THROWS_AS(Sampler({.temperature = temperature}).pick(diverged), Error);
  }
  CHECK_THROWS_AS(Sampler({.temperature = -1.0f}), Error);
  CHECK_THROWS_AS(Sampler({.top_p = 0.0f}), Error);
  CHECK_THROWS_AS(Sampler({.top_k = -1}), Error);
}
