#include "libtrain/checkpoint/safetensors_shards.hpp"

#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"

using train::DataType;
using train::SafetensorsModel;
using train::test::message_of;
using train::test::ScratchDirectory;

namespace {

const std::vector<train::SafetensorsSpec> specs = {
    {"wte", DataType::f32, {4}}, {"h.0", DataType::f32, {2}}, {"ln_f", DataType::f32, {1}}};

/// Tensor i holds the value i + 1 everywhere.
void write_model(const std::filesystem::path& directory, std::uint64_t shard_bytes_max) {
  const auto shards = train::shard_safetensors(specs, shard_bytes_max);
  float value = 0;
  for (const auto& shard : shards) {
    train::SafetensorsWriter writer(directory / shard.file, shard.tensors, {{"format", "pt"}});
    for (const auto& spec : shard.tensors) {
      const std::vector<float> values(static_cast<std::size_t>(spec.shape[0]), ++value);
      writer.write(spec.name, std::span(values));
    }
    writer.commit();
  }
  if (shards.size() > 1) train::write_safetensors_index(directory, shards);
}

}  // namespace

TEST_CASE("Shards respect the limit, keep the order, and are named as Hugging Face does") {
  const auto shards = train::shard_safetensors(specs, 12);
  REQUIRE(shards.size() == 2);
  CHECK(shards[0].file == "model-00001-of-00002.safetensors");
  CHECK(shards[0].tensors.size() == 1);  // larger than the limit: alone
  CHECK(shards[1].tensors.size() == 2);
  const auto one = train::shard_safetensors(specs, 28);
  REQUIRE(one.size() == 1);
  CHECK(one[0].file == "model.safetensors");
}

TEST_CASE("A model reads the same from one file and from shards, by directory or by file") {
  for (const std::uint64_t limit : {12, 1000}) {
    const ScratchDirectory scratch;
    write_model(scratch.path(), limit);
    const auto file =
        scratch / (limit == 12 ? "model.safetensors.index.json" : "model.safetensors");
    for (const auto& path : {scratch.path(), file}) {
      const SafetensorsModel model(path);
      CHECK(model.tensors().size() == 3);
      CHECK(model.metadata().at("format") == "pt");
      CHECK(model.find("h.1") == nullptr);
      std::vector<float> values(2);
      model.read("h.0", std::span(values));
      CHECK(values == std::vector<float>{2, 2});
      CHECK_THROWS_AS(model.read("h.1", std::span(values)), train::Error);
    }
  }
}

TEST_CASE("An index that lies is refused") {
  const ScratchDirectory scratch;
  write_model(scratch.path(), 12);
  const auto index = scratch / "model.safetensors.index.json";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"not JSON", "weight_map"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"weight_map":{}})", "no tensors"},
      {R"({"weight_map":{"wte":"../model.safetensors"}})", "beside the index"},
      {R"({"weight_map":{"wte":7}})", "beside the index"},
      {R"({"weight_map":{"wte":"missing.safetensors"}})", "missing.safetensors"},
      {R"({"weight_map":{"wte":"model-00002-of-00002.safetensors"}})", "lacks it"},
  };
  for (const auto& [content, says] : cases) {
    CAPTURE(content);
    train::test::write_file(index, content);
    CHECK(message_of<train::Error>([&] { SafetensorsModel model(index); }).find(says) !=
          std::string::npos);
  }
  const ScratchDirectory empty;
  CHECK_THROWS_AS(SafetensorsModel(empty.path()), train::Error);
}
