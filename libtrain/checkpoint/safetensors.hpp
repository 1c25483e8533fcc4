#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/checkpoint/file.hpp"
#include "libtrain/checkpoint/safetensors_header.hpp"

namespace train {

/// A safetensors file, checked in full (but for the values) when opened. Reads a tensor at a time
/// straight into the caller's memory; several threads may read at once. Errors name file and
/// tensor.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of their bytes.
  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  /// nullptr if there is none of that name.
  const SafetensorsEntry* find(std::string_view name) const;

  /// Fills `out`, whose type and count must be the tensor's.
  void read(std::string_view name, Buffer out) const;
  /// The bytes of a tensor of any type.
  void read_bytes(std::string_view name, std::span<std::byte> out) const;

 private:
  const SafetensorsEntry& at(std::string_view name) const;

  File file_;
  std::uint64_t data_begin_ = 0;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// A tensor that will be written.
struct SafetensorsSpec {
  std::string name;
  DataType type = DataType::f32;
  std::vector<std::int64_t> shape;
};

/// Writes a safetensors file tensor by tensor, in any order, without holding them. The file appears
/// under its name in commit(), whole and on the disk; see AtomicFile.
class SafetensorsWriter {
 public:
  /// Makes missing directories. Tensors are laid out widest type first, so that each is aligned.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsSpec>& tensors,
                    std::map<std::string, std::string> metadata = {});

  /// Once per tensor; type and count must be those announced.
  void write(std::string_view name, ConstBuffer values);
  /// Throws Error naming a tensor that was not written.
  void commit();

 private:
  std::filesystem::path path_;
  SafetensorsHeader header_;
  std::uint64_t data_begin_ = 0;
  std::map<std::string, std::size_t, std::less<>> unwritten_;
  AtomicFile file_;
};

}  // namespace train
