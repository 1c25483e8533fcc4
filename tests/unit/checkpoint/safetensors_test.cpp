#include "libtrain/checkpoint/safetensors.hpp"

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"

using train::DataType;
using train::SafetensorsReader;
using train::SafetensorsWriter;
using train::test::message_of;

namespace {

/// The file of one f32 pair and three bytes, made by hand from the format's description.
std::string golden_file() {
  std::string json = R"({"__metadata__":{"format":"pt"},)"
                     R"("a":{"data_offsets":[0,8],"dtype":"F32","shape":[2,1]},)"
                     R"("b":{"data_offsets":[8,11],"dtype":"U8","shape":[3]}})";
  while (json.size() % 8 != 0) json += ' ';
  std::string file(1, static_cast<char>(json.size()));
  file += std::string(7, '\0') + json;
  file += std::string("\0\0\x80\x3f\0\0\0\xc0", 8);  // 1.0f, -2.0f
  file += "\x01\x02\xff";
  return file;
}

}  // namespace

TEST_CASE("The writer's bytes are the format's, and the reader reads them") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "new/model.safetensors";
  const std::vector<float> a = {1.0f, -2.0f};
  const std::vector<std::uint8_t> b = {1, 2, 255};
  SafetensorsWriter writer(path, {{"b", DataType::u8, {3}}, {"a", DataType::f32, {2, 1}}},
                           {{"format", "pt"}});
  writer.write("b", std::span(b));
  writer.write("a", std::span(a));
  CHECK(!std::filesystem::exists(path));
  writer.commit();
  CHECK(train::test::read_file(path) == golden_file());

  const SafetensorsReader reader(path);
  CHECK(reader.metadata().at("format") == "pt");
  REQUIRE(reader.tensors().size() == 2);
  CHECK(reader.tensors()[0].shape == std::vector<std::int64_t>{2, 1});
  CHECK(reader.find("c") == nullptr);
  std::vector<float> values(2);
  reader.read("a", std::span(values));
  CHECK(values == a);
}

TEST_CASE("Every type, scalars and empty tensors come back bit for bit") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "all.safetensors";
  const std::vector<DataType> types = {DataType::u8,  DataType::bf16, DataType::i64,
                                       DataType::f32, DataType::f64,  DataType::i32};
  const std::vector<std::vector<std::int64_t>> shapes = {{},        {0},    {7},
                                                         {3, 0, 2}, {3, 5}, {1, 2, 3}};
  std::vector<train::SafetensorsSpec> specs;
  for (const DataType type : types) {
    for (const auto& shape : shapes) {
      specs.push_back({"\u00e9/\"" + std::to_string(specs.size()), type, shape});
    }
  }
  std::string bytes(15 * 8, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(37 * i);
  auto count_of = [](const auto& spec) {
    std::size_t count = 1;
    for (const std::int64_t extent : spec.shape) count *= static_cast<std::size_t>(extent);
    return count;
  };

  SafetensorsWriter writer(path, specs);
  for (const auto& spec : specs) {
    writer.write(spec.name, train::ConstBuffer(bytes.data(), count_of(spec), spec.type));
  }
  writer.commit();

  const SafetensorsReader reader(path);
  CHECK(reader.tensors().size() == specs.size());
  for (const auto& spec : specs) {
    CAPTURE(spec.name);
    REQUIRE(reader.find(spec.name) != nullptr);
    CHECK(reader.find(spec.name)->type() == spec.type);
    CHECK(reader.find(spec.name)->begin % train::size_of(spec.type) == 0);
    std::string read(count_of(spec) * train::size_of(spec.type), 'x');
    reader.read(spec.name, train::Buffer(read.data(), count_of(spec), spec.type));
    CHECK(read == bytes.substr(0, read.size()));
  }
}

TEST_CASE("A tensor of a type that libtrain lacks is listed, and given as bytes only") {
  const train::test::ScratchDirectory scratch;
  std::string json = R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                     R"("new":{"dtype":"F3","shape":[9],"data_offsets":[4,8]}})";
  json.append((8 - json.size() % 8) % 8, ' ');
  train::test::write_file(scratch / "f", std::string(1, static_cast<char>(json.size())) +
                                             std::string(7, '\0') + json + "12345678");
  const SafetensorsReader reader(scratch / "f");
  CHECK(reader.find("h")->dtype == "F16");
  CHECK(!reader.find("h")->type());
  std::vector<std::uint8_t> bytes(4);
  const std::string message = message_of<train::Error>([&] { reader.read("h", std::span(bytes)); });
  CHECK(message.find("\"h\"") != std::string::npos);
  CHECK(message.find("F16") != std::string::npos);
  reader.read_bytes("new", std::as_writable_bytes(std::span(bytes)));
  CHECK(bytes == std::vector<std::uint8_t>{'5', '6', '7', '8'});
}

TEST_CASE("Reading into memory of another type or size names the tensor and both") {
  const train::test::ScratchDirectory scratch;
  train::test::write_file(scratch / "f", golden_file());
  const SafetensorsReader reader(scratch / "f");
  std::vector<std::int32_t> wrong_type(2);
  std::vector<float> wrong_count(3);
  CHECK(message_of<train::Error>([&] { reader.read("a", std::span(wrong_type)); }) ==
        (scratch / "f").string() + ": tensor \"a\": holds 2 values of F32, not 2 of I32");
  CHECK_THROWS_AS(reader.read("a", std::span(wrong_count)), train::Error);
  CHECK_THROWS_AS(reader.read("c", std::span(wrong_count)), train::Error);
}

TEST_CASE("The writer refuses to finish a file that is not whole, and leaves no trace of it") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "f";
  const std::vector<float> values(2);
  {
    SafetensorsWriter writer(path, {{"a", DataType::f32, {2}}, {"b", DataType::f32, {2}}});
    writer.write("a", std::span(values));
    CHECK_THROWS_AS(writer.write("a", std::span(values)), train::Error);
    CHECK_THROWS_AS(writer.write("c", std::span(values)), train::Error);
    CHECK_THROWS_AS(writer.write("b", std::span(values).first(1)), train::Error);
    CHECK(message_of<train::Error>([&] { writer.commit(); }).find("\"b\"") != std::string::npos);
  }
  CHECK_THROWS_AS(SafetensorsWriter(path, {{"a", DataType::f32, {}}, {"a", DataType::f32, {}}}),
                  train::Error);
  CHECK_THROWS_AS(SafetensorsWriter(path, {{"__metadata__", DataType::f32, {}}}), train::Error);
  CHECK_THROWS_AS(SafetensorsWriter(path, {{"\xff", DataType::f32, {}}}), train::Error);
  CHECK_THROWS_AS(SafetensorsWriter(path, {{"a", DataType::f32, {-1}}}), train::Error);
  CHECK(std::filesystem::is_empty(scratch.path()));
}
