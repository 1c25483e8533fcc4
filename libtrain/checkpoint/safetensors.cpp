#include "libtrain/checkpoint/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied byte for byte");

constexpr std::uint64_t length_bytes = 8;

/// Type and count of the caller's memory against those of the tensor.
void check_matches(const SafetensorsEntry& entry, DataType type, std::size_t count,
                   const std::filesystem::path& path) {
  if (entry.dtype == safetensors_dtype(type) && static_cast<std::size_t>(entry.elements()) == count)
    return;
  throw Error(fmt::format("{}: tensor \"{}\": holds {} values of {}, not {} of {}", path.string(),
                          entry.name, entry.elements(), entry.dtype, count,
                          safetensors_dtype(type)));
}

std::map<std::string, std::size_t, std::less<>> index_of(const SafetensorsHeader& header) {
  std::map<std::string, std::size_t, std::less<>> index;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) index[header.tensors[i].name] = i;
  return index;
}

SafetensorsHeader lay_out(const std::vector<SafetensorsSpec>& specs,
                          std::map<std::string, std::string> metadata, const std::string& file) {
  SafetensorsHeader header{.tensors = {}, .metadata = std::move(metadata)};
  std::vector<const SafetensorsSpec*> order;
  for (const SafetensorsSpec& spec : specs) order.push_back(&spec);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->type) > size_of(b->type);
  });
  std::uint64_t at = 0;
  for (const SafetensorsSpec* spec : order) {
    SafetensorsEntry entry{.name = spec->name,
                           .dtype = std::string(safetensors_dtype(spec->type)),
                           .shape = spec->shape,
                           .begin = at,
                           .end = at};
    for (const std::int64_t extent : spec->shape) {
      if (extent < 0) {
        throw Error(fmt::format("cannot write {}: tensor \"{}\": its shape has the extent {}", file,
                                spec->name, extent));
      }
    }
    at += static_cast<std::uint64_t>(entry.elements()) * size_of(spec->type);
    entry.end = at;
    header.tensors.push_back(std::move(entry));
  }
  return header;
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : file_(path, File::Mode::read) {
  const std::string name = path.string();
  const std::uint64_t size = file_.size();
  if (size < length_bytes) {
    throw Error(fmt::format("{}: {} bytes are too few for a safetensors file", name, size));
  }
  std::uint64_t header_bytes = 0;
  file_.read_at(0, std::as_writable_bytes(std::span(&header_bytes, 1)));
  if (header_bytes > safetensors_header_bytes_max || header_bytes > size - length_bytes) {
    throw Error(
        fmt::format("{}: says that its header has {} bytes; the file has {} and the format "
                    "allows {}: not a safetensors file, or cut off",
                    name, header_bytes, size, safetensors_header_bytes_max));
  }
  std::string json(header_bytes, '\0');
  file_.read_at(length_bytes, std::as_writable_bytes(std::span(json)));
  data_begin_ = length_bytes + header_bytes;
  header_ = parse_safetensors_header(json, size - data_begin_, name);
  index_ = index_of(header_);
}

const SafetensorsEntry* SafetensorsReader::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

const SafetensorsEntry& SafetensorsReader::at(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) {
    throw Error(fmt::format("{}: has no tensor \"{}\"", path().string(), name));
  }
  return *entry;
}

void SafetensorsReader::read(std::string_view name, Buffer out) const {
  const SafetensorsEntry& entry = at(name);
  if (!entry.type()) {
    throw Error(
        fmt::format("{}: tensor \"{}\": values of type {} cannot be read; convert it to "
                    "F32 or BF16",
                    path().string(), name, entry.dtype));
  }
  check_matches(entry, out.type, out.count, path());
  read_bytes(name, {out.data, out.bytes()});
}

void SafetensorsReader::read_bytes(std::string_view name, std::span<std::byte> out) const {
  const SafetensorsEntry& entry = at(name);
  if (out.size() != entry.bytes()) {
    throw Error(fmt::format("{}: tensor \"{}\": has {} bytes, not {}", path().string(), name,
                            entry.bytes(), out.size()));
  }
  file_.read_at(data_begin_ + entry.begin, out);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<SafetensorsSpec>& tensors,
                                     std::map<std::string, std::string> metadata)
    : path_(path),
      header_(lay_out(tensors, std::move(metadata), path.string())),
      unwritten_(index_of(header_)),
      file_(path) {
  const std::string json = dump_safetensors_header(header_, path_.string());
  const std::uint64_t header_bytes = json.size();
  data_begin_ = length_bytes + header_bytes;
  file_.file().write_at(0, std::as_bytes(std::span(&header_bytes, 1)));
  file_.file().write_at(length_bytes, std::as_bytes(std::span(json)));
}

void SafetensorsWriter::write(std::string_view name, ConstBuffer values) {
  const auto found = unwritten_.find(name);
  if (found == unwritten_.end()) {
    throw Error(
        fmt::format("{}: tensor \"{}\": written twice, or never announced", path_.string(), name));
  }
  const SafetensorsEntry& entry = header_.tensors[found->second];
  check_matches(entry, values.type, values.count, path_);
  file_.file().write_at(data_begin_ + entry.begin, {values.data, values.bytes()});
  unwritten_.erase(found);
}

void SafetensorsWriter::commit() {
  for (const auto& [name, index] : unwritten_) {
    if (header_.tensors[index].bytes() > 0) {
      throw Error(
          fmt::format("{}: tensor \"{}\": was announced but not written", path_.string(), name));
    }
  }
  file_.commit();
}

}  // namespace train
