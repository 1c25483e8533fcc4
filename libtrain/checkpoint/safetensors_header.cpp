#include "libtrain/checkpoint/safetensors_header.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"

namespace train {
namespace {

using nlohmann::json;

constexpr const char* metadata_key = "__metadata__";

struct Dtype {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<DataType> type;
};

constexpr std::array<Dtype, 18> dtypes = {{
    {"F32", 4, DataType::f32},
    {"BF16", 2, DataType::bf16},
    {"F64", 8, DataType::f64},
    {"I32", 4, DataType::i32},
    {"I64", 8, DataType::i64},
    {"U8", 1, DataType::u8},
    {"BOOL", 1, std::nullopt},
    {"I8", 1, std::nullopt},
    {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},
    {"F16", 2, std::nullopt},
    {"U32", 4, std::nullopt},
    {"U64", 8, std::nullopt},
    {"C64", 8, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
    {"F8_E5M2", 1, std::nullopt},
    {"F8_E8M0", 1, std::nullopt},
    {"F8_E4M3FNUZ", 1, std::nullopt},
}};

const Dtype* find_dtype(std::string_view name) {
  const auto* found = std::find_if(dtypes.begin(), dtypes.end(),
                                   [&](const Dtype& dtype) { return dtype.name == name; });
  return found == dtypes.end() ? nullptr : found;
}

/// Where a message points: a file, or one tensor of it.
struct Place {
  const std::string& file;
  const std::string& tensor;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: tensor \"{}\": {}", file, tensor, what));
  }
};

std::uint64_t unsigned_number(const json& value, const char* what, const Place& place) {
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > largest) {
    place.fail(fmt::format("{} is {}, not a whole number from 0 to {}", what,
                           value.is_number() ? value.dump() : value.type_name(), largest));
  }
  return value.get<std::uint64_t>();
}

const json& member(const json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) place.fail(fmt::format("\"{}\" is missing", key));
  return *found;
}

/// Bytes that dtype and shape ask for; empty for a dtype of unknown size.
std::optional<std::uint64_t> expected_bytes(const SafetensorsEntry& entry, const Place& place) {
  const Dtype* dtype = find_dtype(entry.dtype);
  std::uint64_t bytes = dtype != nullptr ? dtype->bytes : 1;
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes) ||
        bytes > std::numeric_limits<std::int64_t>::max()) {
      place.fail("its shape has more elements than any file can hold");
    }
  }
  return dtype != nullptr ? std::optional(bytes) : std::nullopt;
}

SafetensorsEntry parse_entry(const std::string& name, const json& value, const std::string& file) {
  const Place place{file, name};
  if (!value.is_object()) place.fail("its description is not a JSON object");
  SafetensorsEntry entry;
  entry.name = name;

  const json& dtype = member(value, "dtype", place);
  if (!dtype.is_string()) place.fail("its dtype is not a string");
  entry.dtype = dtype.get<std::string>();

  const json& shape = member(value, "shape", place);
  if (!shape.is_array()) place.fail("its shape is not an array");
  for (const json& extent : shape) {
    entry.shape.push_back(
        static_cast<std::int64_t>(unsigned_number(extent, "an extent of its shape", place)));
  }

  const json& offsets = member(value, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2) {
    place.fail("its data_offsets are not an array of two numbers");
  }
  entry.begin = unsigned_number(offsets[0], "the first of its data_offsets", place);
  entry.end = unsigned_number(offsets[1], "the second of its data_offsets", place);
  if (entry.end < entry.begin) {
    place.fail(fmt::format("it ends at byte {}, before it begins at {}", entry.end, entry.begin));
  }
  const auto expected = expected_bytes(entry, place);
  if (expected && *expected != entry.bytes()) {
    place.fail(fmt::format("dtype {} and shape [{}] make {} bytes, but it has {}", entry.dtype,
                           fmt::join(entry.shape, ", "), *expected, entry.bytes()));
  }
  return entry;
}

std::map<std::string, std::string> parse_metadata(const json& value, const std::string& file) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) throw Error(fmt::format("{}: {} is no object", file, metadata_key));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      throw Error(fmt::format("{}: {}: \"{}\" is not a string", file, metadata_key, key));
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

/// The parser of the JSON library keeps one of two equal names; the file is damaged then.
json parse_json(std::string_view text, const std::string& file) {
  if (!text.starts_with('{')) throw Error(fmt::format("{}: its header is no JSON object", file));
  std::set<std::string> names;
  auto refuse_twice = [&](int depth, json::parse_event_t event, json& value) {
    if (depth == 1 && event == json::parse_event_t::key &&
        !names.insert(value.get<std::string>()).second) {
      throw Error(
          fmt::format("{}: tensor \"{}\": described twice", file, value.get<std::string>()));
    }
    return true;
  };
  try {
    return json::parse(text, refuse_twice);
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: its header is not valid JSON: {}", file, error.what()));
  }
}

/// `tensors` are in the order of their bytes.
void check_coverage(const std::vector<SafetensorsEntry>& tensors, std::uint64_t data_bytes,
                    const std::string& file) {
  std::uint64_t at = 0;
  for (const SafetensorsEntry& entry : tensors) {
    const Place place{file, entry.name};
    if (entry.begin != at) {
      place.fail(fmt::format("{}: it begins at byte {} where {} was expected",
                             entry.begin > at ? "a gap lies before it" : "it overlaps another",
                             entry.begin, at));
    }
    if (entry.end > data_bytes) {
      place.fail(fmt::format("it ends at byte {} of {} bytes of data: the file was cut off",
                             entry.end, data_bytes));
    }
    at = entry.end;
  }
  if (at != data_bytes) {
    throw Error(fmt::format("{}: its tensors take {} bytes, but {} bytes of data follow the header",
                            file, at, data_bytes));
  }
}

}  // namespace

std::int64_t SafetensorsEntry::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

std::optional<DataType> SafetensorsEntry::type() const {
  const Dtype* found = find_dtype(dtype);
  return found != nullptr ? found->type : std::nullopt;
}

std::string_view safetensors_dtype(DataType type) {
  for (const Dtype& dtype : dtypes) {
    if (dtype.type == type) return dtype.name;
  }
  unreachable("unknown DataType");
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& file) {
  SafetensorsHeader header;
  const json parsed = parse_json(text, file);
  for (const auto& [name, value] : parsed.items()) {
    if (name == metadata_key) {
      header.metadata = parse_metadata(value, file);
    } else {
      header.tensors.push_back(parse_entry(name, value, file));
    }
  }
  // Empty tensors share their place with the next one: they come first.
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_coverage(header.tensors, data_bytes, file);
  return header;
}

std::string dump_safetensors_header(const SafetensorsHeader& header, const std::string& file) {
  json root = json::object();
  if (!header.metadata.empty()) root[metadata_key] = header.metadata;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (root.contains(entry.name) || entry.name == metadata_key) {
      Place{file, entry.name}.fail("the name is taken");
    }
    root[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text;
  try {
    text = root.dump();
  } catch (const json::exception& error) {
    throw Error(fmt::format("cannot write {}: {}", file, error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > safetensors_header_bytes_max) {
    throw Error(fmt::format("cannot write {}: its header would have {} bytes, the format allows {}",
                            file, text.size(), safetensors_header_bytes_max));
  }
  return text;
}

}  // namespace train
