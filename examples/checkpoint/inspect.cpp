#include "examples/checkpoint/inspect.hpp"

#include <cmath>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/checkpoint/store.hpp"

namespace {

namespace fs = std::filesystem;
using train::CheckpointReader;
using train::Manifest;

// The checkpoint that a path stands for: itself, or its newest.
fs::path resolve(const fs::path& path) {
  std::error_code none;
  if (fs::exists(path / Manifest::file_name, none)) return path;
  const auto found = train::CheckpointStore(path).newest_first();
  if (found.empty()) {
    throw train::Error(fmt::format("{}: holds no checkpoint", path.string()));
  }
  return found.front().directory;
}

std::string megabytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// Values of any type, as f64.
std::vector<double> values_of(CheckpointReader& reader, const Manifest::StoredTensor& tensor) {
  using train::DataType;
  const auto count = static_cast<std::size_t>(tensor.shape.elements());
  std::vector<std::byte> raw(count * train::size_of(tensor.type));
  const train::Block whole = train::whole_block(tensor.shape);
  reader.read(tensor, std::span(&whole, 1), raw);
  std::vector<double> values(count);
  const auto widen = [&]<typename T>(T) {
    for (std::size_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
      values[i] = static_cast<double>(value);
    }
  };
  switch (tensor.type) {
    case DataType::i32:
      widen(std::int32_t{});
      break;
    case DataType::i64:
      widen(std::int64_t{});
      break;
    case DataType::u8:
      widen(std::uint8_t{});
      break;
    default:
      train::convert_values({raw.data(), count, tensor.type},
                            {values.data(), count, DataType::f64});
  }
  return values;
}

double norm_of(std::span<const double> values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

// What of one tensor differs between two checkpoints; "" when nothing does.
std::string difference(CheckpointReader& a, const Manifest::StoredTensor& in_a, CheckpointReader& b,
                       const Manifest::StoredTensor& in_b) {
  if (in_a.shape != in_b.shape) {
    return fmt::format("shape {} and {}", in_a.shape.to_string(), in_b.shape.to_string());
  }
  const auto left = values_of(a, in_a);
  const auto right = values_of(b, in_b);
  std::vector<double> apart(left.size());
  double largest = 0.0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    apart[i] = left[i] - right[i];
    const bool same = left[i] == right[i] || (std::isnan(left[i]) && std::isnan(right[i]));
    if (!same) ++count;
    largest = std::max(largest, std::abs(apart[i]));
  }
  const std::string types =
      in_a.type == in_b.type
          ? std::string()
          : fmt::format("type {} and {}; ", name_of(in_a.type), name_of(in_b.type));
  if (count == 0) return types.empty() ? "" : types + "equal values";
  return fmt::format("{}{} of {} values, by up to {:.3g}, {:.3g} of the norm", types, count,
                     left.size(), largest, norm_of(apart) / norm_of(left));
}

}  // namespace

int list_checkpoints(const fs::path& store) {
  const auto found = train::CheckpointStore(store).list();
  if (found.empty()) throw train::Error(fmt::format("{}: holds no checkpoint", store.string()));
  const fs::path newest = train::CheckpointStore(store).newest_first().front().directory;
  for (const auto& entry : found) {
    const std::string mark = entry.directory == newest ? "  <- latest" : "";
    try {
      const CheckpointReader reader(entry.directory);
      const Manifest& manifest = reader.manifest();
      fmt::print("{}  step {}  {}  {} tensors in {} files{}\n", entry.directory.filename().string(),
                 manifest.step, megabytes(manifest.tensor_bytes()), manifest.tensors.size(),
                 manifest.files.size(), mark);
    } catch (const train::Error& error) {
      fmt::print("{}  damaged: {}{}\n", entry.directory.filename().string(), error.what(), mark);
    }
  }
  return 0;
}

int show_checkpoint(const fs::path& path, bool norms) {
  CheckpointReader reader(resolve(path));
  const Manifest& manifest = reader.manifest();
  fmt::print("{}\nstep {}, {} in {} files\n", reader.directory().string(), manifest.step,
             megabytes(manifest.tensor_bytes()), manifest.files.size());
  // The tokenizer alone would fill screens.
  constexpr std::size_t extra_max = 1000;
  fmt::print("{}{}\n\n", manifest.extra.substr(0, extra_max),
             manifest.extra.size() > extra_max ? " …" : "");
  fmt::print("{:<12} {:<44} {:<5} {:<18} {}\n", "part", "tensor", "type", "shape",
             norms ? "norm" : "");
  for (const auto& tensor : manifest.tensors) {
    const std::string norm =
        norms ? fmt::format("{:.6g}", norm_of(values_of(reader, tensor))) : std::string();
    fmt::print("{:<12} {:<44} {:<5} {:<18} {}\n", tensor.part, tensor.name, name_of(tensor.type),
               tensor.shape.to_string(), norm);
  }
  return 0;
}

int verify_checkpoints(const fs::path& path) {
  std::vector<fs::path> directories;
  std::error_code none;
  if (fs::exists(path / Manifest::file_name, none)) {
    directories.push_back(path);
  } else {
    for (const auto& entry : train::CheckpointStore(path).list()) {
      directories.push_back(entry.directory);
    }
    if (directories.empty()) {
      throw train::Error(fmt::format("{}: holds no checkpoint", path.string()));
    }
  }
  int status = 0;
  for (const fs::path& directory : directories) {
    std::size_t damaged = 0;
    const auto bad = [](const std::string& what) { fmt::print("{}\n", what); };
    try {
      damaged = CheckpointReader(directory).verify(bad);
    } catch (const train::Error& error) {
      bad(error.what());
      damaged = 1;
    }
    fmt::print("{}: {}\n", directory.filename().string(), damaged == 0 ? "whole" : "DAMAGED");
    if (damaged > 0) status = 1;
  }
  return status;
}

int compare_checkpoints(const fs::path& path_a, const fs::path& path_b) {
  CheckpointReader a(resolve(path_a)), b(resolve(path_b));
  int status = 0;
  const auto say = [&](const Manifest::StoredTensor& tensor, const std::string& what) {
    fmt::print("{} {}: {}\n", tensor.part, tensor.name, what);
    status = 1;
  };
  if (a.step() != b.step()) {
    fmt::print("step: {} and {}\n", a.step(), b.step());
    status = 1;
  }
  for (const auto& tensor : a.manifest().tensors) {
    const auto* other = b.manifest().find(tensor.part, tensor.name);
    if (other == nullptr) {
      say(tensor, "only in " + a.directory().string());
      continue;
    }
    const std::string what = difference(a, tensor, b, *other);
    if (!what.empty()) say(tensor, what);
  }
  for (const auto& tensor : b.manifest().tensors) {
    if (a.manifest().find(tensor.part, tensor.name) == nullptr) {
      say(tensor, "only in " + b.directory().string());
    }
  }
  if (status == 0) fmt::print("equal: {} tensors\n", a.manifest().tensors.size());
  return status;
}
