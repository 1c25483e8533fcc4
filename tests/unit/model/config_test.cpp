#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/unit/model/small_models.hpp"

using namespace train;

TEST_CASE("the first difference of two models is named") {
  const GptConfig model = parse_model("llama-1b");
  GptConfig other = model;
  CHECK(model.difference_from(other).empty());
  other.layers = 3;
  CHECK(other.difference_from(model) == "layers is 3 and not 16");
  other = model;
  other.rope_scaling = RotaryScaling{};
  CHECK(model.difference_from(other).find("rope_scaling is not there and not {") == 0);
}

TEST_CASE("what is only looked up multiplies nothing") {
  const GptConfig gpt2 = parse_model("gpt2-124m");
  CHECK(gpt2.multiplied_parameter_count() == gpt2.parameter_count() - 1024 * 768);
  // Llama's head is a matrix of its own in the larger model, and the embedding in the smaller.
  const GptConfig untied = parse_model("llama-8b"), tied = parse_model("llama-1b");
  CHECK(untied.multiplied_parameter_count() == untied.parameter_count() - 128'256 * 4096);
  CHECK(tied.multiplied_parameter_count() == tied.parameter_count());
}

TEST_CASE("named models have the published counts of parameters") {
  CHECK(parse_model("gpt2-124m").parameter_count() == 124'439'808);
  CHECK(parse_model("gpt2-350m").parameter_count() == 354'823'168);
  CHECK(parse_model("gpt2-774m").parameter_count() == 774'030'080);
  CHECK(parse_model("gpt2-1558m").parameter_count() == 1'557'611'200);
  CHECK(parse_model("llama-1b").parameter_count() == 1'235'814'400);
  CHECK(parse_model("llama-8b").parameter_count() == 8'030'261'248);
}

TEST_CASE("the counted parameters are those that the model has") {
  const auto device = make_reference_device();
  GptConfig no_bias = small::gpt2();
  no_bias.bias = false;
  for (const GptConfig& config : {small::gpt2(), small::llama(), no_bias}) {
    Gpt model(config, *device);
    std::int64_t count = 0;
    for (const auto& parameter : model.parameters()) count += parameter->shape().elements();
    CHECK(count == config.parameter_count());
  }
}

TEST_CASE("a list of sizes changes a model") {
  const GptConfig plain = parse_model("layers=6,heads=6,width=384");
  CHECK(plain.layers == 6);
  CHECK(plain.kv_heads == 6);
  CHECK(plain.head_width == 64);
  CHECK(plain.hidden == 1536);
  CHECK(plain.norm == Norm::layer_norm);
  const GptConfig llama = parse_model("llama,heads=8,kv_heads=2,width=64,hidden=96");
  CHECK(llama.norm == Norm::rms_norm);
  CHECK(llama.kv_heads == 2);
  CHECK(llama.hidden == 96);
  CHECK(parse_model("llama-1b,layers=2").width == 2048);
}

TEST_CASE("a configuration survives JSON") {
  for (const GptConfig& config :
       {small::gpt2(), small::llama(), small::stretched_llama(), gpt2_124m()}) {
    CHECK(GptConfig::from_json(config.to_json()) == config);
  }
  CHECK(small::stretched_llama() != small::llama());
  GptConfig backwards = small::stretched_llama();
  backwards.rope_scaling->low_frequency_factor = 5.0f;
  CHECK_THROWS_AS(GptConfig::from_json(backwards.to_json()), Error);
  CHECK_THROWS_AS(GptConfig::from_json("{\"layers\": 1}"), Error);
  CHECK_THROWS_AS(GptConfig::from_json("no json"), Error);
}

TEST_CASE("sizes that no model has are refused before anything is made of them") {
  const auto message = [](auto change) -> std::string {
    GptConfig config = small::llama();
    change(config);
    try {
      GptConfig::from_json(config.to_json());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  constexpr std::int64_t huge = std::int64_t{1} << 62, most = std::int64_t{1} << 31;
  CHECK(has(message([](GptConfig& c) { c.layers = 1'000'000'000; }), "layers is 1000000000"));
  CHECK(has(message([](GptConfig& c) { c.width = huge; }), "width is"));
  CHECK(has(message([](GptConfig& c) { c.context = most + 1; }), "at most 2147483648"));
  CHECK(
      has(message([](GptConfig& c) { c.heads = c.kv_heads = c.head_width = most; }), "parameters"));
  CHECK(has(message([](GptConfig& c) { c.layers = 65536, c.width = c.hidden = most; }),
            "parameters"));
  CHECK(message([](GptConfig& c) { c.layers = 65536; }).empty());
  GptConfig large = small::gpt2();
  large.width = std::int64_t{1} << 22;
  large.vocabulary = std::int64_t{1} << 25;
  large.validate();
  CHECK(large.parameter_count() > std::int64_t{1} << 47);
}

TEST_CASE("a model of many layers is made at once") {
  const auto device = make_reference_device();
  GptConfig deep = small::gpt2();
  deep.layers = 10000;  // 120,000 parameters: a search through all of them for each takes minutes
  const Gpt model(deep, *device);
  for (const auto& parameter : model.parameters()) {
    REQUIRE(model.find_parameter(parameter->name()) == parameter.get());
  }
  CHECK(model.find_parameter("blocks.10000.mlp.down.bias") == nullptr);
}

TEST_CASE("a model that cannot be is refused by name") {
  const auto message = [](const char* text) -> std::string {
    try {
      parse_model(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(message("gpt5"), "gpt2-124m"));
  CHECK(has(message("layers=2,heads=3,width=128"), "3 heads do not divide the width 128"));
  CHECK(has(message("layers=x"), "not a whole number"));
  CHECK(has(message("layers=0"), "layers is 0"));
  CHECK(has(message("llama,width=4611686018427387904"), "not a whole number up to"));
  CHECK(has(message("depth=3"), "depth"));
  CHECK(has(message("llama,heads=4,kv_heads=3"), "kv_heads"));
  CHECK(has(message("llama,heads=4,width=12"), "even head width"));
}
