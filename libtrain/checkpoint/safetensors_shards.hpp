#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "libtrain/checkpoint/safetensors.hpp"

namespace train {

/// A model's tensors, in one safetensors file or in several that an index lists
/// (`model.safetensors.index.json`: {"weight_map": {tensor: file}}), under one roof.
class SafetensorsModel {
 public:
  /// A .safetensors file, an index, or a directory that holds `model.safetensors` or its index.
  /// Throws Error if a shard is missing or lacks a tensor that the index places there.
  explicit SafetensorsModel(const std::filesystem::path& path);

  /// Of all shards, by name.
  std::vector<const SafetensorsEntry*> tensors() const;
  const SafetensorsEntry* find(std::string_view name) const;
  /// As SafetensorsReader's.
  void read(std::string_view name, Buffer out) const;
  void read_bytes(std::string_view name, std::span<std::byte> out) const;
  /// The first shard's: shards of one model repeat it.
  const std::map<std::string, std::string>& metadata() const { return shards_.front().metadata(); }

 private:
  const SafetensorsReader& home_of(std::string_view name) const;
  void open_index(const std::filesystem::path& index);

  std::deque<SafetensorsReader> shards_;
  std::map<std::string, const SafetensorsReader*, std::less<>> home_;  // by tensor
};

/// Which tensors go to which file when no file may hold more than `shard_bytes_max` of data, in the
/// order given; a tensor that is larger gets a file to itself. One file is `model.safetensors`,
/// more are `model-00001-of-00003.safetensors` and so on. The caller writes each with a
/// SafetensorsWriter, then the index.
struct SafetensorsShard {
  std::string file;
  std::vector<SafetensorsSpec> tensors;
};
std::vector<SafetensorsShard> shard_safetensors(const std::vector<SafetensorsSpec>& tensors,
                                                std::uint64_t shard_bytes_max);

/// Writes `directory/model.safetensors.index.json` for shards that are there: a reader that finds
/// the index finds them all.
void write_safetensors_index(const std::filesystem::path& directory,
                             const std::vector<SafetensorsShard>& shards);

/// Removes what readers might take in place of these shards: the index, or the one file, of a model
/// that was there before and was cut otherwise.
void remove_other_model(const std::filesystem::path& directory,
                        const std::vector<SafetensorsShard>& shards);

}  // namespace train
