#include "libtrain/checkpoint/weights.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "libtrain/parallel/gather.hpp"
#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

constexpr const char* config_key = "libtrain.config";
constexpr const char* tokenizer_key = "libtrain.tokenizer";

std::vector<std::int64_t> extents_of(const Shape& shape) {
  std::vector<std::int64_t> extents;
  for (int i = 0; i < shape.rank(); ++i) extents.push_back(shape[i]);
  return extents;
}

GptConfig read_config(const SafetensorsReader& reader) {
  const auto found = reader.metadata().find(config_key);
  if (found == reader.metadata().end()) {
    throw Error(fmt::format("{}: the metadata have no \"{}\": not a file that --save-weights wrote",
                            reader.path().string(), config_key));
  }
  const GptConfig config = GptConfig::from_json(found->second);
  // Before anybody makes a model of a size that the file only claims.
  std::int64_t values = 0;
  for (const SafetensorsEntry& tensor : reader.tensors()) values += tensor.elements();
  if (values < config.parameter_count()) {
    throw Error(fmt::format("{}: its configuration makes {} parameters, its tensors hold {}",
                            reader.path().string(), config.parameter_count(), values));
  }
  return config;
}

std::shared_ptr<const Tokenizer> read_tokenizer(const SafetensorsReader& reader) {
  const auto found = reader.metadata().find(tokenizer_key);
  if (found == reader.metadata().end()) return nullptr;
  return tokenizer_from_json(found->second);
}

}  // namespace

bool is_weights_file(const std::filesystem::path& path) {
  try {
    return SafetensorsReader(path).metadata().contains(config_key);
  } catch (const Error&) {
    return false;
  }
}

std::map<std::string, std::string> weights_metadata(const GptConfig& config,
                                                    const Tokenizer* tokenizer) {
  std::map<std::string, std::string> metadata{{config_key, config.to_json()}};
  if (tokenizer != nullptr) metadata[tokenizer_key] = tokenizer->to_json();
  return metadata;
}

void save_weights(const std::filesystem::path& path, const Gpt& model, const Tokenizer* tokenizer) {
  std::vector<SafetensorsSpec> specs;
  for (const auto& parameter : model.parameters()) {
    invariant(parameter->layout().ranks() == 1, "a model that is split is saved by its ranks");
    specs.push_back({parameter->name(), parameter->type(), extents_of(parameter->shape())});
  }
  SafetensorsWriter writer(path, specs, weights_metadata(model.config(), tokenizer));
  std::vector<std::byte> host;
  for (const auto& parameter : model.parameters()) {
    const Tensor& value = parameter->value();
    host.resize(value.bytes());
    value.copy_to_host(host);
    writer.write(parameter->name(),
                 {host.data(), static_cast<std::size_t>(value.elements()), value.type()});
  }
  writer.commit();
}

void save_weights(const std::filesystem::path& path, const GptConfig& config,
                  std::span<const LogicalTensor> parameters, Communicator& world,
                  const Tokenizer* tokenizer) {
  std::optional<SafetensorsWriter> writer;
  if (world.rank() == 0) {
    std::vector<SafetensorsSpec> specs;
    for (const LogicalTensor& parameter : parameters) {
      specs.push_back({parameter.name, parameter.type, extents_of(parameter.layout.shape())});
    }
    writer.emplace(path, specs, weights_metadata(config, tokenizer));
  }
  for (const LogicalTensor& parameter : parameters) {
    const auto whole = gather(parameter, world, 0);
    if (!writer) continue;
    writer->write(parameter.name,
                  {whole.data(), whole.size() / size_of(parameter.type), parameter.type});
  }
  if (writer) writer->commit();
}

WeightsFile::WeightsFile(const std::filesystem::path& path)
    : reader_(path), config_(read_config(reader_)), tokenizer_(read_tokenizer(reader_)) {}

void WeightsFile::load(Gpt& model) const {
  for (const auto& tensor : reader_.tensors()) {
    if (model.find_parameter(tensor.name) == nullptr) {
      throw Error(
          fmt::format("{}: tensor {} is not in the model; choose the --model that the file "
                      "was saved from",
                      reader_.path().string(), tensor.name));
    }
  }
  for (const auto& parameter : model.parameters()) load(*parameter, model.device());
}

void WeightsFile::load(Parameter& parameter, Device& device) const {
  const SafetensorsEntry* entry = reader_.find(parameter.name());
  const std::string file = reader_.path().string();
  if (entry == nullptr) {
    throw Error(
        fmt::format("{}: tensor {} is missing; choose the --model that the file was saved "
                    "from",
                    file, parameter.name()));
  }
  if (!std::ranges::equal(entry->shape, extents_of(parameter.shape()))) {
    throw Error(fmt::format(
        "{}: tensor {} is [{}], the model's is {}; choose the --model that the "
        "file was saved from",
        file, parameter.name(), fmt::join(entry->shape, ", "), parameter.shape().to_string()));
  }
  const DataType type = entry->type().value_or(DataType::u8);
  if (type != DataType::f32 && type != DataType::bf16) {
    throw Error(fmt::format("{}: tensor {} is {}; weights are F32 or BF16", file, parameter.name(),
                            entry->dtype));
  }
  // This rank's blocks of it, in the parameter's type.
  std::vector<std::byte> whole(static_cast<std::size_t>(parameter.shape().elements()) *
                               size_of(type));
  reader_.read(parameter.name(),
               {whole.data(), static_cast<std::size_t>(parameter.shape().elements()), type});
  const Tensor staging(device.memory(), parameter.local_shape(), type);
  std::vector<std::byte> local(staging.bytes());
  copy_from_whole(parameter.shape(), size_of(type), whole,
                  parameter.layout().blocks(parameter.layout_rank()), local);
  staging.copy_from_host(local);
  device.ops().convert(staging, parameter.value());
}

}  // namespace train
