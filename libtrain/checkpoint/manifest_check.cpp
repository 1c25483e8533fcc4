#include "libtrain/checkpoint/manifest_check.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"

namespace train {
namespace {

using Stretch = std::array<std::uint64_t, 2>;

std::uint64_t bytes_of(const Manifest::StoredBlock& stored, DataType type) {
  return static_cast<std::uint64_t>(stored.block.elements()) * size_of(type);
}

void check_block(const Manifest& manifest, const Manifest::StoredTensor& tensor,
                 const Manifest::StoredBlock& stored) {
  const Block& block = stored.block;
  const auto refuse = [&](const char* why) {
    throw Error(fmt::format("tensor {}: its block {} {}", tensor.name, block.to_string(), why));
  };
  if (block.extent.rank() != tensor.shape.rank()) refuse("has another rank");
  for (int i = 0; i < tensor.shape.rank(); ++i) {
    const bool within = block.offset[i] >= 0 && block.extent[i] >= 1 &&
                        block.offset[i] <= tensor.shape[i] - block.extent[i];
    if (!within) refuse("is not within it");
  }
  if (stored.file >= manifest.files.size()) refuse("is in a file that is not listed");
  const std::uint64_t bytes = bytes_of(stored, tensor.type);
  const std::uint64_t file_bytes = manifest.files[stored.file].bytes;
  if (bytes > file_bytes || stored.at > file_bytes - bytes) refuse("is not within its file");
  if (stored.hashes.size() != pieces_of(bytes, manifest.piece_bytes)) {
    refuse("has a wrong number of hashes");
  }
}

// Blocks that lie within a tensor, apart, and have as many elements as it, are all of it.
void check_whole(const Manifest::StoredTensor& tensor) {
  std::vector<const Block*> by_offset;
  std::int64_t elements = 0;
  for (const auto& stored : tensor.blocks) {
    by_offset.push_back(&stored.block);
    elements += stored.block.elements();
  }
  if (elements != tensor.shape.elements()) {
    throw Error(fmt::format("tensor {}: its blocks hold {} of {} values", tensor.name, elements,
                            tensor.shape.elements()));
  }
  if (tensor.shape.rank() == 0) return;
  std::ranges::sort(by_offset, {}, [](const Block* block) { return block->offset[0]; });
  for (std::size_t i = 0; i < by_offset.size(); ++i) {
    const std::int64_t end = by_offset[i]->offset[0] + by_offset[i]->extent[0];
    for (std::size_t j = i + 1; j < by_offset.size() && by_offset[j]->offset[0] < end; ++j) {
      if (intersection(*by_offset[i], *by_offset[j]).elements() > 0) {
        throw Error(fmt::format("tensor {}: its blocks {} and {} lie on top of each other",
                                tensor.name, by_offset[i]->to_string(), by_offset[j]->to_string()));
      }
    }
  }
}

void check_files(const Manifest& manifest) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    const std::string& name = manifest.files[i].name;
    // A name alone: a manifest from elsewhere must not point out of its directory.
    const bool plain = !name.empty() && name != "." && name != ".." &&
                       name.find('/') == std::string::npos && names.insert(name).second;
    if (!plain) throw Error(fmt::format("\"{}\" is not the name of a file beside it", name));
  }
}

}  // namespace

std::vector<Stretch> gaps_between(std::vector<Stretch> blocks, std::uint64_t file_bytes) {
  std::ranges::sort(blocks);
  std::vector<Stretch> gaps;
  std::uint64_t at = 0;
  for (const auto& [begin, end] : blocks) {
    if (begin < at) throw Error("blocks lie on top of each other");
    if (begin > at) gaps.push_back({at, begin});
    at = end;
  }
  if (at < file_bytes) gaps.push_back({at, file_bytes});
  return gaps;
}

std::vector<Stretch> bookkeeping_of(const Manifest& manifest, std::size_t file) {
  std::vector<Stretch> blocks;
  for (const auto& tensor : manifest.tensors) {
    for (const auto& stored : tensor.blocks) {
      if (stored.file != file) continue;
      blocks.push_back({stored.at, stored.at + bytes_of(stored, tensor.type)});
    }
  }
  return gaps_between(std::move(blocks), manifest.files[file].bytes);
}

void RunningHash::Traits::close(Handle state) noexcept {
  XXH3_freeState(state);
}

RunningHash::RunningHash() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_64bits_reset(state_.get());
}

void RunningHash::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
}

std::uint64_t RunningHash::value() const {
  return XXH3_64bits_digest(state_.get());
}

void check_manifest(const Manifest& manifest) {
  if (manifest.step < 0) throw Error(fmt::format("its step is {}", manifest.step));
  if (manifest.piece_bytes < 8 || manifest.piece_bytes % 8 != 0) {
    throw Error(fmt::format("its pieces have {} bytes", manifest.piece_bytes));
  }
  check_files(manifest);
  std::set<std::array<std::string_view, 2>> names;
  for (const auto& tensor : manifest.tensors) {
    if (!names.insert({tensor.part, tensor.name}).second) {
      throw Error(fmt::format("tensor {} of part {} is there twice", tensor.name, tensor.part));
    }
    for (const auto& stored : tensor.blocks) check_block(manifest, tensor, stored);
    check_whole(tensor);
  }
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    try {
      bookkeeping_of(manifest, i);
    } catch (const Error& error) {
      throw Error(fmt::format("file {}: {}", manifest.files[i].name, error.what()));
    }
  }
}

}  // namespace train
