#include "libtrain/checkpoint/manifest.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/manifest_check.hpp"

namespace train {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* format_name = "libtrain checkpoint";
constexpr std::string_view first_line_begin = "{\"xxh3\": \"";
constexpr std::string_view first_line_end = "\",\n";
constexpr std::size_t hash_digits = 16;
constexpr std::size_t first_line_bytes =
    first_line_begin.size() + hash_digits + first_line_end.size();

constexpr DataType types[] = {DataType::f32, DataType::bf16, DataType::f64,
                              DataType::i32, DataType::i64,  DataType::u8};

DataType type_from(const std::string& name) {
  for (const DataType type : types) {
    if (name == name_of(type)) return type;
  }
  throw Error(fmt::format("the type \"{}\" is unknown", name));
}

std::uint64_t hash_from(const std::string& text) {
  std::uint64_t hash = 0;
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() != hash_digits || !std::ranges::all_of(text, is_digit)) {
    throw Error(fmt::format("\"{}\" is not a hash", text));
  }
  for (const char c : text)
    hash = hash << 4 | static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  return hash;
}

json to_json(const Shape& shape) {
  json list = json::array();
  for (int i = 0; i < shape.rank(); ++i) list.push_back(shape[i]);
  return list;
}

Shape shape_from(const json& list) {
  const auto extents = list.get<std::vector<std::int64_t>>();
  if (extents.size() > Shape::max_rank) throw Error("a shape has more than four extents");
  std::int64_t elements = 1;
  for (const std::int64_t extent : extents) {
    if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements) || elements >> 56 != 0) {
      throw Error(fmt::format("an extent is {}", extent));
    }
  }
  return Shape(std::span(extents));
}

json to_json(const Manifest::StoredBlock& stored) {
  json offset = json::array();
  for (int i = 0; i < stored.block.extent.rank(); ++i) offset.push_back(stored.block.offset[i]);
  json hashes = json::array();
  for (const std::uint64_t hash : stored.hashes) hashes.push_back(hash_text(hash));
  return {{"offset", offset},    {"extent", to_json(stored.block.extent)},
          {"file", stored.file}, {"dataset", stored.dataset},
          {"at", stored.at},     {"hashes", hashes}};
}

Manifest::StoredBlock block_from(const json& from) {
  Manifest::StoredBlock stored;
  stored.block.extent = shape_from(from.at("extent"));
  const auto offset = from.at("offset").get<std::vector<std::int64_t>>();
  if (static_cast<int>(offset.size()) != stored.block.extent.rank()) {
    throw Error("a block's offset and extent have different ranks");
  }
  std::ranges::copy(offset, stored.block.offset.begin());
  stored.file = from.at("file").get<std::size_t>();
  stored.dataset = from.at("dataset").get<std::string>();
  stored.at = from.at("at").get<std::uint64_t>();
  for (const json& hash : from.at("hashes")) {
    stored.hashes.push_back(hash_from(hash.get<std::string>()));
  }
  return stored;
}

json to_json(const Manifest::StoredTensor& tensor) {
  json blocks = json::array();
  for (const auto& block : tensor.blocks) blocks.push_back(to_json(block));
  return {{"part", tensor.part},
          {"name", tensor.name},
          {"type", name_of(tensor.type)},
          {"shape", to_json(tensor.shape)},
          {"blocks", blocks}};
}

Manifest::StoredTensor tensor_from(const json& from) {
  Manifest::StoredTensor tensor;
  tensor.part = from.at("part").get<std::string>();
  tensor.name = from.at("name").get<std::string>();
  tensor.type = type_from(from.at("type").get<std::string>());
  tensor.shape = shape_from(from.at("shape"));
  for (const json& block : from.at("blocks")) tensor.blocks.push_back(block_from(block));
  return tensor;
}

Manifest manifest_from(const json& from) {
  Manifest manifest;
  manifest.step = from.at("step").get<std::int64_t>();
  manifest.extra = from.at("extra").dump();
  manifest.piece_bytes = from.at("piece_bytes").get<std::uint64_t>();
  for (const json& file : from.at("files")) {
    manifest.files.push_back({file.at("name").get<std::string>(),
                              file.at("bytes").get<std::uint64_t>(),
                              hash_from(file.at("bookkeeping").get<std::string>())});
  }
  for (const json& tensor : from.at("tensors")) manifest.tensors.push_back(tensor_from(tensor));
  return manifest;
}

// A checkpoint of a later libtrain says so before anything else can be wrong with it.
void check_version(const json& from) {
  if (!from.is_object() || from.value("format", "") != format_name) {
    throw Error("it does not describe a checkpoint of libtrain");
  }
  const auto found = from.at("version").get<std::int64_t>();
  if (found != Manifest::version) {
    throw Error(fmt::format(
        "it has version {}, and this program knows version {}; use a libtrain as new as the one "
        "that wrote it",
        found, Manifest::version));
  }
}

void check_hash(std::string_view text) {
  const bool begins =
      text.size() > first_line_bytes && text.starts_with(first_line_begin) &&
      text.substr(first_line_begin.size() + hash_digits).starts_with(first_line_end);
  const std::string_view rest = begins ? text.substr(first_line_bytes) : std::string_view();
  const std::string stated(begins ? text.substr(first_line_begin.size(), hash_digits) : "");
  if (!begins || hash_from(stated) != XXH3_64bits(rest.data(), rest.size())) {
    throw Error("its hash does not fit its text: it is damaged, or was edited");
  }
}

}  // namespace

std::string hash_text(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

const Manifest::StoredTensor* Manifest::find(std::string_view part, std::string_view name) const {
  const auto found = std::ranges::find_if(tensors, [&](const StoredTensor& tensor) {
    return tensor.name == name && tensor.part == part;
  });
  return found == tensors.end() ? nullptr : &*found;
}

std::uint64_t Manifest::tensor_bytes() const {
  std::uint64_t bytes = 0;
  for (const StoredTensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

std::string Manifest::to_text() const {
  std::string rest = fmt::format("\"format\": \"{}\",\n\"version\": {},\n\"step\": {},\n",
                                 format_name, version, step);
  rest += fmt::format("\"piece_bytes\": {},\n\"extra\": {},\n\"files\": [", piece_bytes, extra);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const json file = {{"name", files[i].name},
                       {"bytes", files[i].bytes},
                       {"bookkeeping", hash_text(files[i].bookkeeping_hash)}};
    rest += (i == 0 ? "\n" : ",\n") + file.dump();
  }
  rest += "],\n\"tensors\": [";
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    rest += (i == 0 ? "\n" : ",\n") + to_json(tensors[i]).dump();
  }
  rest += "]}\n";
  return fmt::format("{}{}{}{}", first_line_begin, hash_text(XXH3_64bits(rest.data(), rest.size())),
                     first_line_end, rest);
}

Manifest Manifest::from_text(std::string_view text, const std::filesystem::path& file) {
  try {
    const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded()) throw Error("it is not JSON: cut off or damaged");
    check_version(parsed);
    check_hash(text);
    Manifest manifest = manifest_from(parsed);
    check_manifest(manifest);
    return manifest;
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  }
}

}  // namespace train
