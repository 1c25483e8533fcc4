#include "examples/checkpoint/inspect.hpp"

#include <cmath>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "examples/checkpoint/find_checkpoints.hpp"
#include "libtrain/checkpoint/checkpoint_reader.hpp"
#include "libtrain/checkpoint/convert_values.hpp"

namespace {

namespace fs = std::filesystem;
using train::CheckpointReader;
using train::Manifest;

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

int list_checkpoints(const fs::path& path) {
  const fs::path newest = newest_checkpoint_at(path);
  int status = 0;
  for (const fs::path& directory : checkpoints_at(path)) {
    const std::string mark = directory == newest && directory != path ? "  <- latest" : "";
    try {
      const CheckpointReader reader(directory);
      const Manifest& manifest = reader.manifest();
      fmt::print("{}  step {}  {}  {} tensors in {} files{}\n", directory.filename().string(),
                 manifest.step, megabytes(manifest.tensor_bytes()), manifest.tensors.size(),
                 manifest.files.size(), mark);
    } catch (const train::Error& error) {
      fmt::print("{}  damaged: {}{}\n", directory.filename().string(), error.what(), mark);
      status = 1;
    }
  }
  return status;
}

int show_checkpoint(const fs::path& path, bool norms) {
  CheckpointReader reader(newest_checkpoint_at(path));
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
  int status = 0;
  for (const fs::path& directory : checkpoints_at(path)) {
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
  CheckpointReader a(newest_checkpoint_at(path_a)), b(newest_checkpoint_at(path_b));
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
