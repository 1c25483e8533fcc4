// Models of Hugging Face's transformers and of llm.c beside libtrain: logits, and tensors bit for
// bit. The files and numbers come from make_golden.py.

#include "libtrain/checkpoint/interchange/hugging_face.hpp"

#include <cmath>
#include <fstream>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/checkpoint/interchange/llmc_model.hpp"
#include "libtrain/checkpoint/interchange/native_model.hpp"
#include "libtrain/checkpoint/interchange/open_model.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/checkpoint/weights.hpp"
#include "tests/support/scratch_directory.hpp"

using namespace train;
using train::test::message_of;
using train::test::read_file;
using train::test::ScratchDirectory;
using train::test::write_file;

namespace fs = std::filesystem;

namespace {

const fs::path golden = TRAIN_GOLDEN_DIR;
constexpr const char* names[] = {"gpt2", "llama"};

template <typename T>
std::vector<T> read(const fs::path& file, const std::string& name) {
  const SafetensorsReader reader(file);
  std::vector<T> values(static_cast<std::size_t>(reader.find(name)->elements()));
  reader.read(name, std::span(values));
  return values;
}

double relative_difference(std::span<const float> found, std::span<const float> expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// How far libtrain's logits for a weights file are from those in a golden file.
double logits_apart(const fs::path& weights_file, const fs::path& golden_file) {
  const WeightsFile weights(weights_file);
  const auto device = make_cpu_device(1);
  Gpt model(weights.config(), *device);
  weights.load(model);
  const auto inputs = read<std::int32_t>(golden_file, "inputs");
  Batch batch;
  batch.inputs = inputs;
  batch.context = weights.config().context;
  batch.sequences = static_cast<std::int64_t>(inputs.size()) / batch.context;
  return relative_difference(model.logits(batch).span<float>(), read<float>(golden_file, "logits"));
}

// All tensors of two files are there in both with the same bytes.
void check_same_tensors(const fs::path& a, const fs::path& b) {
  const SafetensorsReader left(a), right(b);
  CHECK(left.tensors().size() == right.tensors().size());
  for (const SafetensorsEntry& entry : left.tensors()) {
    CAPTURE(entry.name);
    REQUIRE(right.find(entry.name) != nullptr);
    CHECK(right.find(entry.name)->shape == entry.shape);
    CHECK(read<float>(a, entry.name) == read<float>(b, entry.name));
  }
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  REQUIRE(has(text, from));
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("a model that transformers wrote gives transformers' logits, and goes back bit for bit") {
  for (const std::string name : names) {
    CAPTURE(name);
    const ScratchDirectory scratch;
    const auto model = open_model(golden / name);
    write_native(scratch / "native.safetensors", *model, model->type());
    CHECK(logits_apart(scratch / "native.safetensors", golden / (name + ".golden.safetensors")) <
          1e-5);
    const auto native = open_model(scratch / "native.safetensors");
    CHECK(native->config() == model->config());
    write_hugging_face(scratch / "back", *native, DataType::f32);
    check_same_tensors(golden / name / "model.safetensors", scratch / "back/model.safetensors");
    const auto again = open_model(scratch / "back");
    CHECK(again->config() == model->config());
  }
}

TEST_CASE("transformers gave an exported model libtrain's logits") {
  for (const std::string name : names) {
    CAPTURE(name);
    const fs::path exported = golden / (name + ".exported.safetensors");
    const fs::path weights = golden.parent_path() / "models" / (name + ".weights.safetensors");
    CHECK(logits_apart(weights, exported) < 1e-5);
  }
}

TEST_CASE("a model in several files, with the names of a base model, is the same") {
  const ScratchDirectory scratch;
  for (const std::string name : names) {
    CAPTURE(name);
    const auto model = open_model(golden / name);
    const fs::path folder = scratch.path() / name;
    write_hugging_face(folder, *model, DataType::f32, 10'000);
    CHECK(fs::exists(folder / "model.safetensors.index.json"));
    CHECK(!fs::exists(folder / "model.safetensors"));
    const auto sharded = open_model(folder);
    for (const ModelTensor& tensor : model_tensors(model->config())) {
      CHECK(sharded->read_as(tensor, DataType::f32) == model->read_as(tensor, DataType::f32));
    }
    // Readers differ in which they take where both are there.
    write_hugging_face(folder, *model, DataType::f32);
    CHECK(!fs::exists(folder / "model.safetensors.index.json"));
    write_hugging_face(folder, *model, DataType::f32, 10'000);
    CHECK(!fs::exists(folder / "model.safetensors"));
  }
  // GPT2Model's names lack the prefix; old files carry masks.
  const SafetensorsReader whole(golden / "gpt2/model.safetensors");
  std::vector<SafetensorsSpec> specs{{"h.0.attn.bias", DataType::f32, {1}}};
  for (const auto& entry : whole.tensors()) {
    specs.push_back({entry.name.substr(12), DataType::f32, entry.shape});
  }
  SafetensorsWriter writer(scratch / "base/model.safetensors", specs);
  const std::vector<float> mask{0.0f};
  writer.write("h.0.attn.bias", std::span(mask));
  for (const auto& entry : whole.tensors()) {
    const auto values = read<float>(whole.path(), entry.name);
    writer.write(entry.name.substr(12), std::span(values));
  }
  writer.commit();
  fs::copy(golden / "gpt2/config.json", scratch / "base/config.json");
  write_native(scratch / "base.safetensors", *open_model(scratch / "base"), DataType::f32);
  CHECK(logits_apart(scratch / "base.safetensors", golden / "gpt2.golden.safetensors") < 1e-5);
}

TEST_CASE("llm.c's model is the same as Hugging Face's, and is written byte for byte") {
  const ScratchDirectory scratch;
  const auto theirs = open_model(golden / "gpt2");
  const auto llmc = open_model(golden / "gpt2.llmc.bin");
  CHECK(llmc->config() == theirs->config());
  for (const ModelTensor& tensor : model_tensors(llmc->config())) {
    CAPTURE(tensor.name);
    CHECK(llmc->read_as(tensor, DataType::f32) == theirs->read_as(tensor, DataType::f32));
  }
  write_llmc_model(scratch / "model.bin", *theirs, DataType::f32);
  CHECK(read_file(scratch / "model.bin") == read_file(golden / "gpt2.llmc.bin"));
  write_llmc_model(scratch / "bf16.bin", *theirs, DataType::bf16);
  const auto halves = open_model(scratch / "bf16.bin");
  CHECK(halves->type() == DataType::bf16);
  const ModelTensor last{"final_norm.bias", {24}};
  CHECK(halves->read_as(last, DataType::bf16) == theirs->read_as(last, DataType::bf16));
}

TEST_CASE("a model becomes a checkpoint, and comes out again") {
  const ScratchDirectory scratch;
  const auto model = open_model(golden / "llama");
  const fs::path written = write_model_checkpoint(scratch / "run", *model, DataType::f32);
  CHECK(written == scratch / "run/step-00000000");
  for (const fs::path& path : {written, scratch / "run"}) {
    write_hugging_face(scratch / "out", *open_model(path), DataType::f32);
    check_same_tensors(golden / "llama/model.safetensors", scratch / "out/model.safetensors");
  }
}

TEST_CASE("a model without biases becomes a GPT-2 whose biases are zero") {
  const ScratchDirectory scratch;
  GptConfig config = parse_model("layers=2,heads=2,width=16,context=8");
  config.bias = false;
  const auto device = make_cpu_device(1);
  const Gpt model(config, *device);
  save_weights(scratch / "native.safetensors", model, nullptr);
  write_hugging_face(scratch / "hf", *open_model(scratch / "native.safetensors"), DataType::f32);
  const auto bias = read<float>(scratch / "hf/model.safetensors", "transformer.h.1.mlp.c_fc.bias");
  CHECK(bias == std::vector<float>(64, 0.0f));
  const ModelTensor table{"token_embedding.weight", {256, 16}};
  CHECK(open_model(scratch / "hf")->read_as(table, DataType::f32) ==
        open_model(scratch / "native.safetensors")->read_as(table, DataType::f32));
  // What has no place there.
  config = parse_model("llama,layers=1,heads=2,width=16,context=8");
  config.bias = true;
  const Gpt biased(config, *device);
  save_weights(scratch / "biased.safetensors", biased, nullptr);
  const auto source = open_model(scratch / "biased.safetensors");
  CHECK_THROWS_AS(write_hugging_face(scratch / "no", *source, DataType::f32), Error);
  CHECK_THROWS_AS(write_llmc_model(scratch / "no", *source, DataType::f32), Error);
  CHECK(!fs::exists(scratch / "no"));
}

TEST_CASE("Llama 3.1's scaling of rotary positions comes in, goes out and is stored") {
  const ScratchDirectory scratch;
  fs::copy(golden / "llama", scratch / "llama");
  const fs::path config = scratch / "llama/config.json";
  const std::string scaling =
      R"("factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 8192, "rope_type": "llama3")";
  // As transformers 5 writes it, and as the published checkpoints have it.
  const std::string text = read_file(config);
  const std::string newer = replaced(text, R"("rope_type": "default")", scaling);
  const std::string older =
      replaced(replaced(text, "rope_parameters", "unknown"), "\"vocab_size\"",
               "\"rope_theta\": 500.0, \"rope_scaling\": {" + scaling + "}, \"vocab_size\"");
  for (const std::string& variant : {newer, older}) {
    write_file(config, variant);
    const auto model = open_model(scratch / "llama");
    CHECK(model->config().rope_theta == 500.0f);
    CHECK(model->config().rope_scaling == RotaryScaling{.factor = 32.0f});
    write_hugging_face(scratch / "back", *model, DataType::f32);
    CHECK(open_model(scratch / "back")->config() == model->config());
    write_native(scratch / "native.safetensors", *model, DataType::f32);
    CHECK(open_model(scratch / "native.safetensors")->config() == model->config());
  }
  write_file(config, replaced(newer, "\"factor\": 32.0", "\"factor\": 0.5"));
  CHECK(has(message_of<Error>([&] { open_model(scratch / "llama"); }), "scaling"));
}

TEST_CASE("an exported model brings its tokenizer") {
  const ScratchDirectory scratch;
  const fs::path tokenizers = golden.parent_path() / "tokenizer";
  GptConfig config = parse_model("llama,layers=1,heads=1,width=8,context=16,vocabulary=763");
  const auto device = make_cpu_device(1);
  const Gpt model(config, *device);
  // Llama 3's form: a text begins with one token, and generation ends with either of two.
  const std::string own = read_file(tokenizers / "llama3_style.json");
  fs::create_directory(scratch / "own");
  write_file(scratch / "own/tokenizer.json",
             replaced(own, R"("post_processor":null)", R"("post_processor":{
                 "type":"TemplateProcessing","single":[
                     {"SpecialToken":{"id":"<|begin_of_text|>","type_id":0}},
                     {"Sequence":{"id":"A","type_id":0}}],"pair":[],
                 "special_tokens":{"<|begin_of_text|>":{
                     "id":"<|begin_of_text|>","ids":[758],"tokens":["<|begin_of_text|>"]}}})"));
  write_file(scratch / "own/config.json", R"({"eos_token_id": [759, 760]})");
  const auto tokenizer = make_tokenizer("hf:" + (scratch / "own").string());
  save_weights(scratch / "native.safetensors", model, tokenizer.get());
  CHECK(write_hugging_face(scratch / "hf", *open_model(scratch / "native.safetensors"),
                           DataType::f32));
  CHECK(has(read_file(scratch / "hf/tokenizer_config.json"), R"("eos_token": "<|endoftext|>")"));
  CHECK(has(read_file(scratch / "hf/config.json"), R"("bos_token_id": 758)"));
  const auto back = open_model(scratch / "hf")->tokenizer();
  REQUIRE(back != nullptr);
  const std::string text = "the king's 1234 ships\n<|pad|> snake";
  CHECK(back->encode(text) == tokenizer->encode(text));
  CHECK(encode_document(*back, text) == encode_document(*tokenizer, text));
  CHECK(back->end_of_text() == 759);
  for (std::int32_t id = 0; id < 763; ++id) CHECK(back->is_end(id) == (id == 759 || id == 760));
  // Without a tokenizer, or with one that has no such form, the model alone is written.
  save_weights(scratch / "native.safetensors", model, make_char_tokenizer("abc").get());
  CHECK(!write_hugging_face(scratch / "chars", *open_model(scratch / "native.safetensors"),
                            DataType::f32));
  CHECK(!fs::exists(scratch / "chars/tokenizer.json"));
}

TEST_CASE("a model in F16 is read as f32") {
  const ScratchDirectory scratch;
  // The tensors of another file, each value 1 + the tensor's number / 4.
  SafetensorsHeader header;
  std::string data;
  const SafetensorsReader other(golden / "gpt2/model.safetensors");
  for (const auto& entry : other.tensors()) {
    const auto half = static_cast<std::uint16_t>(0x3c00 + 0x100 * header.tensors.size());
    header.tensors.push_back(entry);
    header.tensors.back().dtype = "F16";
    header.tensors.back().begin = data.size();
    for (std::int64_t i = 0; i < entry.elements(); ++i) {
      data.append(reinterpret_cast<const char*>(&half), sizeof(half));
    }
    header.tensors.back().end = data.size();
  }
  const std::string json = dump_safetensors_header(header, "half");
  const std::uint64_t length = json.size();
  fs::create_directory(scratch / "half");
  fs::copy(golden / "gpt2/config.json", scratch / "half/config.json");
  write_file(scratch / "half/model.safetensors",
             std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + json + data);
  const auto model = open_model(scratch / "half");
  CHECK(model->type() == DataType::f32);
  write_native(scratch / "native.safetensors", *model, model->type());
  float expected = 0.0f;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    if (header.tensors[i].name == "transformer.h.1.mlp.c_fc.bias") {
      expected = std::ldexp(1.0f + static_cast<float>(i % 4) / 4.0f, static_cast<int>(i / 4));
    }
  }
  CHECK(read<float>(scratch / "native.safetensors", "blocks.1.mlp.up.bias") ==
        std::vector<float>(96, expected));
}

TEST_CASE("a tokenizer that cannot be read matters to those who want it") {
  const ScratchDirectory scratch;
  fs::copy(golden / "gpt2", scratch / "gpt2");
  write_file(scratch / "gpt2/tokenizer.json",
             R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "Unigram"}})");
  const auto model = open_model(scratch / "gpt2");
  CHECK(!model->read_as({"final_norm.bias", {24}}, DataType::f32).empty());
  const auto message = message_of<Error>(
      [&] { write_native(scratch / "native.safetensors", *model, DataType::f32); });
  CHECK(has(message, "Unigram"));
  CHECK(has(message, "tokenizer.json"));
  CHECK(has(message, "--tokenizer"));
  CHECK(!fs::exists(scratch / "native.safetensors"));
}

TEST_CASE("gelu_new has a second name") {
  const ScratchDirectory scratch;
  fs::copy(golden / "gpt2", scratch / "gpt2");
  const std::string text = read_file(golden / "gpt2/config.json");
  write_file(scratch / "gpt2/config.json", replaced(text, "gelu_new", "gelu_pytorch_tanh"));
  CHECK(open_model(scratch / "gpt2")->config() == open_model(golden / "gpt2")->config());
}

TEST_CASE("what libtrain does not have is refused by name") {
  const ScratchDirectory scratch;
  fs::copy(golden / "llama", scratch / "llama");
  fs::copy(golden / "gpt2", scratch / "gpt2");
  const auto complaint = [&](const std::string& model, const std::string& from,
                             const std::string& to) {
    const fs::path config = scratch.path() / model / "config.json";
    const std::string text = read_file(config);
    write_file(config, replaced(text, from, to));
    const std::string message = message_of<Error>([&] { open_model(config.parent_path()); });
    write_file(config, text);
    CHECK(has(message, config.parent_path().string()));
    return message;
  };
  CHECK(has(complaint("gpt2", "gelu_new", "relu"), "activation_function"));
  CHECK(has(complaint("gpt2", "\"n_layer\": 2", "\"n_layer\": 3"), "transformer.h.2.ln_1.weight"));
  CHECK(has(complaint("gpt2", "\"n_layer\": 2", "\"n_layer\": 1"), "transformer.h.1."));
  CHECK(has(complaint("gpt2", "\"n_embd\": 24", "\"n_embd\": 48"), "transformer.wte.weight"));
  CHECK(has(complaint("gpt2", "\"n_embd\": 24", "\"n_embd\": \"x\""), "n_embd"));
  CHECK(has(complaint("gpt2", "\"n_embd\": 24", "\"n_embd\": 9000000000000000000"), "n_embd"));
  CHECK(has(complaint("gpt2", "\"n_layer\": 2", "\"n_layer\": 1000000000"), "layers"));
  CHECK(has(complaint("gpt2", "\"gpt2\"", "\"bert\""), "bert"));
  CHECK(has(complaint("gpt2", "{", "["), "JSON"));
  CHECK(has(complaint("llama", "\"rope_type\": \"default\"", "\"rope_type\": \"yarn\""), "yarn"));
  CHECK(
      has(complaint("llama", "\"rope_type\": \"default\"", "\"rope_type\": \"llama3\""), "factor"));
  CHECK(has(complaint("llama", "\"attention_bias\": false", "\"attention_bias\": true"),
            "attention_bias"));
  CHECK(has(message_of<Error>([&] { open_model(scratch / "nothing"); }), "nothing"));
  CHECK(has(message_of<Error>([&] { open_model(scratch.path()); }), "neither"));

  const std::string whole = read_file(golden / "gpt2.llmc.bin");
  const auto bad_llmc = [&](const std::string& content) {
    write_file(scratch / "model.bin", content);
    return message_of<Error>([&] { open_model(scratch / "model.bin"); });
  };
  CHECK(has(bad_llmc(whole.substr(0, whole.size() - 1)), "cut off"));
  std::string version = whole;
  version[4] = 9;
  CHECK(has(bad_llmc(version), "version 9"));
  std::string huge = whole;
  huge[11] = 127;
  CHECK(has(bad_llmc(huge), "word 2"));
  // Sizes whose product has more than 64 bits.
  std::string product = whole;
  for (const std::size_t word : {4, 6}) product.replace(4 * word, 4, {'\0', '\0', '\x10', '\0'});
  product.replace(4 * 5, 4, {'\1', '\0', '\0', '\0'});
  CHECK(has(bad_llmc(product), "layers is 1048576"));
  product.replace(4 * 4, 4, {'\0', '\0', '\1', '\0'});
  CHECK(has(bad_llmc(product), "parameters"));
  CHECK(bad_llmc(whole).empty());
}
