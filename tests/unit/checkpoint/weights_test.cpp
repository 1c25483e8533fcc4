#include "libtrain/checkpoint/weights.hpp"

#include <doctest/doctest.h>

#include "tests/support/scratch_directory.hpp"
#include "tests/unit/model/small_models.hpp"

using namespace train;
using test::ScratchDirectory;

namespace {

std::vector<float> values_of(const Gpt& model, const std::string& name) {
  const Tensor& value = model.find_parameter(name)->value();
  const Tensor wide(model.device().memory(), value.shape(), DataType::f32);
  model.device().ops().convert(value, wide);
  const auto span = wide.span<float>();
  return {span.begin(), span.end()};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("weights, configuration and tokenizer survive a file") {
  const ScratchDirectory folder;
  const auto path = folder.path() / "model.safetensors";
  const auto device = make_reference_device();
  const auto tokenizer = make_char_tokenizer("some text");
  for (const GptConfig& config : {small::gpt2(), small::llama()}) {
    Gpt saved(config, *device, {DataType::f32, 3});
    save_weights(path, saved, tokenizer.get());
    const WeightsFile file(path);
    CHECK(file.config() == config);
    REQUIRE(file.tokenizer() != nullptr);
    CHECK(file.tokenizer()->decode(file.tokenizer()->encode("text")) == "text");
    Gpt loaded(file.config(), *device, {DataType::f32, 99});
    file.load(loaded);
    for (const auto& parameter : saved.parameters()) {
      CHECK(values_of(loaded, parameter->name()) == values_of(saved, parameter->name()));
    }
  }
}

TEST_CASE("weights change between f32 and bf16 on the way") {
  const ScratchDirectory folder;
  const auto device = make_reference_device();
  Gpt wide(small::gpt2(), *device, {DataType::f32, 3});
  Gpt narrow(small::gpt2(), *device, {DataType::bf16, 5});
  Gpt back(small::gpt2(), *device, {DataType::f32, 7});
  save_weights(folder.path() / "wide.safetensors", wide, nullptr);
  WeightsFile(folder.path() / "wide.safetensors").load(narrow);
  save_weights(folder.path() / "narrow.safetensors", narrow, nullptr);
  const WeightsFile file(folder.path() / "narrow.safetensors");
  CHECK(file.tokenizer() == nullptr);
  file.load(back);
  const std::string name = "blocks.0.attention.qkv.weight";
  const auto expected = values_of(wide, name);
  const auto found = values_of(back, name);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i] == static_cast<float>(BFloat16(expected[i])));
  }
}

TEST_CASE("weights of another model are refused by tensor and file") {
  const ScratchDirectory folder;
  const auto path = folder.path() / "model.safetensors";
  const auto device = make_reference_device();
  Gpt saved(small::gpt2(), *device);
  save_weights(path, saved, nullptr);
  const WeightsFile file(path);

  Gpt llama(small::llama(), *device);
  CHECK(has(test::message_of<Error>([&] { file.load(llama); }), "is not in the model"));
  GptConfig deeper = small::gpt2();
  deeper.layers = 3;
  Gpt deep(deeper, *device);
  CHECK(has(test::message_of<Error>([&] { file.load(deep); }), "blocks.2."));
  GptConfig wider = small::gpt2();
  wider.hidden = 16;
  Gpt wide(wider, *device);
  const std::string message = test::message_of<Error>([&] { file.load(wide); });
  CHECK(has(message, "blocks.0.mlp.up.weight is [12, 8]"));
  CHECK(has(message, path.string()));
}

TEST_CASE("a file that claims more than it holds is refused before a model is made") {
  const ScratchDirectory folder;
  const auto path = folder.path() / "model.safetensors";
  GptConfig config = small::gpt2();
  config.layers = 65536;
  SafetensorsWriter writer(path, {{"x", DataType::f32, {1}}}, weights_metadata(config, nullptr));
  const float value = 1.0f;
  writer.write("x", {&value, 1, DataType::f32});
  writer.commit();
  const std::string message = test::message_of<Error>([&] { WeightsFile{path}; });
  CHECK(has(message, path.string()));
  CHECK(has(message, "its tensors hold 1"));
}

TEST_CASE("a safetensors file without a configuration is refused") {
  const ScratchDirectory folder;
  const auto path = folder.path() / "other.safetensors";
  SafetensorsWriter writer(path, {{"x", DataType::f32, {1}}});
  const float value = 1.0f;
  writer.write("x", {&value, 1, DataType::f32});
  writer.commit();
  CHECK(has(test::message_of<Error>([&] { WeightsFile{path}; }), "libtrain.config"));
}
