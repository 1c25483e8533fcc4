#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/tensor/layout.hpp"

namespace train {

/// What a checkpoint holds and where: `manifest.json` in its directory. Tensors are logical: a
/// name, a global shape, and the blocks that together make it, every element once, wherever they
/// are stored.
struct Manifest {
  struct StoredBlock {
    Block block;
    std::size_t file = 0;  ///< index into `files`
    std::string dataset;
    std::uint64_t at = 0;  ///< the dataset's first byte in the file
    /// XXH3 of each piece of `piece_bytes` of the block's bytes; the last piece may be shorter.
    std::vector<std::uint64_t> hashes;
  };
  struct StoredTensor {
    std::string part;  ///< "model", "optimizer", …
    std::string name;
    DataType type = DataType::f32;
    Shape shape;
    std::vector<StoredBlock> blocks;

    std::uint64_t bytes() const {
      return static_cast<std::uint64_t>(shape.elements()) * size_of(type);
    }
  };
  struct StoredFile {
    std::string name;
    std::uint64_t bytes = 0;
    /// XXH3 of every byte that no block holds: HDF5's bookkeeping. It is compared before HDF5 sees
    /// the file, so that the library never reads what is damaged.
    std::uint64_t bookkeeping_hash = 0;
  };

  static constexpr int version = 1;
  static constexpr const char* file_name = "manifest.json";

  std::int64_t step = 0;
  /// What else belongs to the state, as one JSON object: configuration, positions, seeds.
  std::string extra = "{}";
  std::uint64_t piece_bytes = std::uint64_t{1} << 20;
  std::vector<StoredFile> files;
  std::vector<StoredTensor> tensors;

  /// nullptr when there is none.
  const StoredTensor* find(std::string_view part, std::string_view name) const;
  std::uint64_t tensor_bytes() const;

  /// The file's text. Its first line holds the XXH3 of all that follows.
  std::string to_text() const;
  /// Throws Error naming `file` when the text is damaged, of a newer version, or speaks of what
  /// cannot be: blocks outside of their tensor or file, on top of each other, or not all of it.
  static Manifest from_text(std::string_view text, const std::filesystem::path& file);
};

/// Pieces of a block of so many bytes.
inline std::uint64_t pieces_of(std::uint64_t bytes, std::uint64_t piece_bytes) {
  return (bytes + piece_bytes - 1) / piece_bytes;
}

/// "0123456789abcdef"
std::string hash_text(std::uint64_t hash);

}  // namespace train
