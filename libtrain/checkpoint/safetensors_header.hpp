#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/types.hpp"

namespace train {

/// One tensor of a safetensors file: row-major, little-endian.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;                ///< as the file says: "F32", "BF16", "F8_E4M3", …
  std::vector<std::int64_t> shape;  ///< empty for a scalar
  std::uint64_t begin = 0;          ///< of its bytes, from the start of the file's data
  std::uint64_t end = 0;

  std::uint64_t bytes() const { return end - begin; }
  /// Product of the extents; 1 for a scalar.
  std::int64_t elements() const;
  /// Empty for the types that can be listed but not read here.
  std::optional<DataType> type() const;
};

/// "F32", "BF16", … for the types that libtrain has.
std::string_view safetensors_dtype(DataType type);

/// What stands before the data of a safetensors file
/// (https://github.com/huggingface/safetensors, "Format").
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order of their bytes, without gaps
  std::map<std::string, std::string> metadata;
};

/// Longest JSON that the format allows.
inline constexpr std::uint64_t safetensors_header_bytes_max = 100'000'000;

/// Reads and checks the JSON of a file with `data_bytes` bytes of data: types, shapes and offsets
/// agree, and the tensors cover the data without gap or overlap. `file` names it in Errors.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& file);

/// The JSON, padded with spaces so that data behind it and its 8 byte length start on a multiple
/// of 8. Throws Error for names that are not UTF-8 or occur twice.
std::string dump_safetensors_header(const SafetensorsHeader& header, const std::string& file);

}  // namespace train
