#include "libtrain/checkpoint/checkpoint_reader.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/hdf5/shard_file.hpp"
#include "libtrain/checkpoint/manifest_check.hpp"
#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

// Of one call to the system: what is read is hashed and copied while it is in the processor's
// cache.
constexpr std::uint64_t pieces_at_once = 1;
constexpr std::uint64_t pieces_ahead = 16;

Manifest read_manifest(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / Manifest::file_name;
  const File file(path, File::Mode::read);
  std::string text(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return Manifest::from_text(text, path);
}

// A stretch that lies in one piece both in a stored block and in the wanted one, in bytes.
struct Run {
  std::uint64_t stored;
  std::uint64_t wanted;
  std::uint64_t bytes;
};

Block relative_to(Block block, const Block& base) {
  for (int i = 0; i < block.extent.rank(); ++i) block.offset[i] -= base.offset[i];
  return block;
}

// Both blocks keep their elements row-major, so the runs of what they share come in the same order
// in both.
std::vector<Run> shared_runs(const Block& stored, const Block& wanted, const Block& common,
                             std::size_t element_bytes) {
  std::vector<std::int64_t> starts;
  for_each_run(wanted.extent, relative_to(common, wanted),
               [&](std::int64_t first, std::int64_t) { starts.push_back(first); });
  std::vector<Run> runs;
  std::size_t i = 0;
  for_each_run(stored.extent, relative_to(common, stored),
               [&](std::int64_t first, std::int64_t count) {
                 const Run run{static_cast<std::uint64_t>(first) * element_bytes,
                               static_cast<std::uint64_t>(starts[i++]) * element_bytes,
                               static_cast<std::uint64_t>(count) * element_bytes};
                 if (!runs.empty() && runs.back().stored + runs.back().bytes == run.stored &&
                     runs.back().wanted + runs.back().bytes == run.wanted) {
                   runs.back().bytes += run.bytes;
                 } else {
                   runs.push_back(run);
                 }
               });
  return runs;
}

template <typename From, typename To>
void convert_as(ConstBuffer from, Buffer to) {
  for (std::size_t i = 0; i < from.count; ++i) {
    From value;
    std::memcpy(&value, from.data + i * sizeof(From), sizeof(From));
    To converted;
    if constexpr (std::is_same_v<From, To>) {
      converted = value;
    } else if constexpr (std::is_same_v<To, BFloat16>) {
      converted = BFloat16(static_cast<float>(value));
    } else if constexpr (std::is_same_v<From, BFloat16>) {
      converted = static_cast<To>(static_cast<float>(value));
    } else {
      converted = static_cast<To>(value);
    }
    std::memcpy(to.data + i * sizeof(To), &converted, sizeof(To));
  }
}

template <typename From>
void convert_from(ConstBuffer from, Buffer to) {
  switch (to.type) {
    case DataType::f32:
      return convert_as<From, float>(from, to);
    case DataType::bf16:
      return convert_as<From, BFloat16>(from, to);
    case DataType::f64:
      return convert_as<From, double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

}  // namespace

void convert_values(ConstBuffer from, Buffer to) {
  invariant(from.count == to.count, "as many values as before");
  if (from.type == to.type) {
    if (from.count > 0) std::memcpy(to.data, from.data, from.bytes());
    return;
  }
  switch (from.type) {
    case DataType::f32:
      return convert_from<float>(from, to);
    case DataType::bf16:
      return convert_from<BFloat16>(from, to);
    case DataType::f64:
      return convert_from<double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

CheckpointReader::CheckpointReader(std::filesystem::path directory)
    : directory_(std::move(directory)),
      manifest_(read_manifest(directory_)),
      files_(manifest_.files.size()) {}

const File& CheckpointReader::open(std::size_t file) {
  OpenFile& opened = files_[file];
  if (opened.checked) return opened.file;
  const Manifest::StoredFile& listed = manifest_.files[file];
  opened.file = File(directory_ / listed.name, File::Mode::read);
  const std::string name = opened.file.path().string();
  if (opened.file.size() != listed.bytes) {
    throw Error(
        fmt::format("{}: has {} bytes, the manifest says {}: cut off, or of another "
                    "checkpoint",
                    name, opened.file.size(), listed.bytes));
  }
  FileImage image;
  image.resize(listed.bytes);
  RunningHash hash;
  for_each_part(bookkeeping_of(manifest_, file), [&](auto begin, auto bytes) {
    opened.file.read_at(begin, bytes);
    hash.add(bytes);
    image.write(begin, bytes);
  });
  const std::uint64_t found = hash.value();
  if (found != listed.bookkeeping_hash) {
    throw Error(
        fmt::format("{}: HDF5's bookkeeping is damaged, or the file is of another "
                    "checkpoint: its hash is {}, the manifest says {}",
                    name, hash_text(found), hash_text(listed.bookkeeping_hash)));
  }
  check_places(file, image);
  opened.checked = true;
  return opened.file;
}

void CheckpointReader::check_places(std::size_t file, FileImage& image) {
  std::vector<ShardDataset> datasets;
  std::vector<std::uint64_t> places;
  for (const auto& tensor : manifest_.tensors) {
    for (const auto& stored : tensor.blocks) {
      if (stored.file != file) continue;
      datasets.push_back({stored.dataset, tensor.type, tensor.shape, stored.block});
      places.push_back(stored.at);
    }
  }
  locate_datasets(files_[file].file.path(), image, datasets);
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    if (datasets[i].at == places[i]) continue;
    throw Error(fmt::format("{}: dataset {} lies at byte {}, the manifest says {}",
                            files_[file].file.path().string(), datasets[i].name, datasets[i].at,
                            places[i]));
  }
}

std::span<const std::byte> CheckpointReader::read_pieces(const Manifest::StoredTensor& tensor,
                                                         const Manifest::StoredBlock& stored,
                                                         std::uint64_t first, std::uint64_t count) {
  const std::uint64_t piece = manifest_.piece_bytes;
  const std::uint64_t block_bytes =
      static_cast<std::uint64_t>(stored.block.elements()) * size_of(tensor.type);
  const std::uint64_t begin = first * piece;
  const std::uint64_t bytes = std::min(count * piece, block_bytes - begin);
  const File& file = open(stored.file);
  if (pieces_.size() < bytes) pieces_.resize(bytes);
  const std::span<std::byte> read(pieces_.data(), bytes);
  file.read_at(stored.at + begin, read);
  // What comes next lies behind it, most of the time: read while this is hashed and copied.
  file.will_read(stored.at + begin + bytes, pieces_ahead * piece);
  bytes_read_ += bytes;
  for (std::uint64_t i = 0; i * piece < bytes; ++i) {
    const auto part = read.subspan(i * piece, std::min(piece, bytes - i * piece));
    const std::uint64_t found = XXH3_64bits(part.data(), part.size());
    if (found != stored.hashes[first + i]) {
      throw Error(fmt::format(
          "{}: tensor {} ({}) is damaged: bytes {} to {} of the file have the hash {}, the "
          "manifest says {}",
          file.path().string(), tensor.name, stored.dataset, stored.at + begin + i * piece,
          stored.at + begin + i * piece + part.size(), hash_text(found),
          hash_text(stored.hashes[first + i])));
    }
  }
  return read;
}

void CheckpointReader::read_from(const Manifest::StoredTensor& tensor,
                                 const Manifest::StoredBlock& stored, const Block& wanted,
                                 const Take& take) {
  const Block common = intersection(stored.block, wanted);
  if (common.elements() == 0) return;
  const std::uint64_t piece = manifest_.piece_bytes;
  const auto runs = shared_runs(stored.block, wanted, common, size_of(tensor.type));
  std::span<const std::byte> window;  // of the stored block
  std::uint64_t window_begin = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Run run = runs[i];
    while (run.bytes > 0) {
      if (run.stored >= window_begin + window.size()) {
        // As many pieces as runs go through without leaving one out.
        const std::uint64_t first = run.stored / piece;
        std::uint64_t end = (run.stored + run.bytes - 1) / piece + 1;
        for (std::size_t j = i + 1; j < runs.size() && end - first < pieces_at_once; ++j) {
          if (runs[j].stored / piece > end) break;
          end = (runs[j].stored + runs[j].bytes - 1) / piece + 1;
        }
        window = read_pieces(tensor, stored, first, std::min(end - first, pieces_at_once));
        window_begin = first * piece;
      }
      const std::uint64_t bytes = std::min(run.bytes, window_begin + window.size() - run.stored);
      take(run.wanted, window.subspan(run.stored - window_begin, bytes));
      run = {run.stored + bytes, run.wanted + bytes, run.bytes - bytes};
    }
  }
}

void CheckpointReader::read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks,
                            const Take& take) {
  std::uint64_t begin = 0;
  for (const Block& wanted : blocks) {
    const auto take_of_block = [&](std::uint64_t offset, std::span<const std::byte> bytes) {
      take(begin + offset, bytes);
    };
    for (const auto& stored : tensor.blocks) read_from(tensor, stored, wanted, take_of_block);
    begin += static_cast<std::uint64_t>(wanted.elements()) * size_of(tensor.type);
  }
}

void CheckpointReader::read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks,
                            std::span<std::byte> out) {
  read(tensor, blocks, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, out.subspan(offset, bytes.size()).begin());
  });
}

void CheckpointReader::load(std::string_view part, const LogicalTensor& target, int rank) {
  const Manifest::StoredTensor* stored = manifest_.find(part, target.name);
  if (stored == nullptr) {
    throw Error(
        fmt::format("{}: holds no tensor {} (part {}); it is of another model, or was "
                    "saved without this part",
                    directory_.string(), target.name, part));
  }
  load(*stored, target, rank);
}

void CheckpointReader::load(const Manifest::StoredTensor& stored, const LogicalTensor& target,
                            int rank) {
  if (stored.shape != target.layout.shape()) {
    throw Error(fmt::format("{}: tensor {} is {}, the model's is {}; it is of another model",
                            directory_.string(), stored.name, stored.shape.to_string(),
                            target.layout.shape().to_string()));
  }
  if (target.layout.local_elements(rank) == 0) return;
  const std::size_t stored_bytes = size_of(stored.type);
  std::vector<std::byte> converted;
  read(stored, target.layout.blocks(rank),
       [&](std::uint64_t offset, std::span<const std::byte> bytes) {
         const std::size_t count = bytes.size() / stored_bytes;
         const Tensor place = target.local.slice(static_cast<std::int64_t>(offset / stored_bytes),
                                                 {static_cast<std::int64_t>(count)});
         if (stored.type == target.type) {
           place.copy_from_host(bytes);
           return;
         }
         converted.resize(place.bytes());
         convert_values({bytes.data(), count, stored.type}, {converted.data(), count, target.type});
         place.copy_from_host(converted);
       });
}

std::size_t CheckpointReader::verify(const std::function<void(const std::string&)>& bad) {
  std::size_t damaged = 0;
  std::vector<char> usable(files_.size(), 1);
  const auto attempt = [&](const auto& what) {
    try {
      what();
      return true;
    } catch (const Error& error) {
      ++damaged;
      bad(error.what());
      return false;
    }
  };
  for (std::size_t i = 0; i < files_.size(); ++i) usable[i] = attempt([&] { open(i); });
  for (const auto& tensor : manifest_.tensors) {
    for (const auto& stored : tensor.blocks) {
      if (usable[stored.file] == 0) continue;
      attempt([&] {
        const auto count = static_cast<std::uint64_t>(stored.hashes.size());
        for (std::uint64_t i = 0; i < count; i += pieces_at_once) {
          read_pieces(tensor, stored, i, std::min(pieces_at_once, count - i));
        }
      });
    }
  }
  return damaged;
}

}  // namespace train
