#include "libtrain/checkpoint/safetensors_shards.hpp"

#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"

namespace train {
namespace {

using nlohmann::json;

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

/// The file of a model that `path` stands for.
std::filesystem::path resolve(const std::filesystem::path& path) {
  std::error_code none;
  if (!std::filesystem::is_directory(path, none)) return path;
  for (const char* name : {index_name, single_name}) {
    if (std::filesystem::exists(path / name, none)) return path / name;
  }
  throw Error(fmt::format("{}: holds neither {} nor {}", path.string(), single_name, index_name));
}

json parse_weight_map(const std::filesystem::path& index) {
  const File file(index, File::Mode::read);
  std::string text(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object()) {
    throw Error(fmt::format("{}: not JSON with an object \"weight_map\"", index.string()));
  }
  return std::move(root["weight_map"]);
}

std::uint64_t bytes_of(const SafetensorsSpec& spec) {
  std::uint64_t bytes = size_of(spec.type);
  for (const std::int64_t extent : spec.shape) bytes *= static_cast<std::uint64_t>(extent);
  return bytes;
}

}  // namespace

SafetensorsModel::SafetensorsModel(const std::filesystem::path& path) {
  const std::filesystem::path file = resolve(path);
  if (file.extension() == ".json") {
    open_index(file);
    return;
  }
  const SafetensorsReader& shard = shards_.emplace_back(file);
  for (const SafetensorsEntry& entry : shard.tensors()) home_[entry.name] = &shard;
}

void SafetensorsModel::open_index(const std::filesystem::path& index) {
  std::map<std::string, const SafetensorsReader*> opened;
  const json weight_map = parse_weight_map(index);
  for (const auto& [tensor, file] : weight_map.items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : std::string();
    // A name alone: an index from elsewhere must not point out of its directory.
    if (name.empty() || name == ".." || name.find('/') != std::string::npos) {
      throw Error(
          fmt::format("{}: tensor \"{}\": \"{}\" is not the name of a file beside the index",
                      index.string(), tensor, name));
    }
    const SafetensorsReader*& shard = opened[name];
    if (shard == nullptr) shard = &shards_.emplace_back(index.parent_path() / name);
    if (shard->find(tensor) == nullptr) {
      throw Error(fmt::format("{}: places the tensor \"{}\" in {}, which lacks it", index.string(),
                              tensor, name));
    }
    home_[tensor] = shard;
  }
  if (shards_.empty()) throw Error(fmt::format("{}: lists no tensors", index.string()));
}

std::vector<const SafetensorsEntry*> SafetensorsModel::tensors() const {
  std::vector<const SafetensorsEntry*> entries;
  for (const auto& [name, shard] : home_) entries.push_back(shard->find(name));
  return entries;
}

const SafetensorsEntry* SafetensorsModel::find(std::string_view name) const {
  const auto found = home_.find(name);
  return found == home_.end() ? nullptr : found->second->find(name);
}

const SafetensorsReader& SafetensorsModel::home_of(std::string_view name) const {
  const auto found = home_.find(name);
  if (found == home_.end()) {
    throw Error(fmt::format("{}: the model has no tensor \"{}\"",
                            shards_.front().path().parent_path().string(), name));
  }
  return *found->second;
}

void SafetensorsModel::read(std::string_view name, Buffer out) const {
  home_of(name).read(name, out);
}

void SafetensorsModel::read_bytes(std::string_view name, std::span<std::byte> out) const {
  home_of(name).read_bytes(name, out);
}

std::vector<SafetensorsShard> shard_safetensors(const std::vector<SafetensorsSpec>& tensors,
                                                std::uint64_t shard_bytes_max) {
  std::vector<SafetensorsShard> shards(1);
  std::uint64_t bytes = 0;
  for (const SafetensorsSpec& spec : tensors) {
    if (!shards.back().tensors.empty() && bytes + bytes_of(spec) > shard_bytes_max) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().tensors.push_back(spec);
    bytes += bytes_of(spec);
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    shards[i].file = shards.size() == 1
                         ? single_name
                         : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

void write_safetensors_index(const std::filesystem::path& directory,
                             const std::vector<SafetensorsShard>& shards) {
  std::uint64_t bytes = 0;
  json weight_map = json::object();
  for (const SafetensorsShard& shard : shards) {
    for (const SafetensorsSpec& spec : shard.tensors) {
      weight_map[spec.name] = shard.file;
      bytes += bytes_of(spec);
    }
  }
  const json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", weight_map}};
  AtomicFile file(directory / index_name);
  file.file().write(index.dump(2) + "\n");
  file.commit();
}

void remove_other_model(const std::filesystem::path& directory,
                        const std::vector<SafetensorsShard>& shards) {
  const auto other = directory / (shards.size() > 1 ? single_name : index_name);
  std::error_code code;
  std::filesystem::remove(other, code);
  if (!code) return;
  throw Error(fmt::format("cannot remove {}, which would be read in place of what was written: {}",
                          other.string(), code.message()));
}

}  // namespace train
