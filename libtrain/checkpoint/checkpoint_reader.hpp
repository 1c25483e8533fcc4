#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libtrain/checkpoint/file.hpp"
#include "libtrain/checkpoint/hdf5/image.hpp"
#include "libtrain/checkpoint/manifest.hpp"
#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// One checkpoint, opened. Reads any blocks of its tensors, whatever blocks they are stored in, and
/// only the pieces of 1 MiB that hold something of them: each piece has its hash in the manifest,
/// and what is read is what was hashed. (So a rank that wants every second row of a matrix of short
/// rows reads all of it; one that wants rows, or a shard of ZeRO, reads those.) A file's
/// bookkeeping is hashed when the file is first needed, and only then shown to HDF5. Needs no other
/// ranks.
///
/// Errors name directory, file and tensor. One thread at a time.
class CheckpointReader {
 public:
  /// Reads the manifest of `directory`.
  explicit CheckpointReader(std::filesystem::path directory);

  const std::filesystem::path& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  std::int64_t step() const { return manifest_.step; }
  /// The JSON object that was saved with the tensors.
  const std::string& extra() const { return manifest_.extra; }

  /// Calls take(offset, bytes) with parts of these blocks of a tensor of this manifest, each part
  /// once, in any order: `offset` is the part's place, in bytes, where the blocks lie one after
  /// another in the type in which the tensor is stored.
  using Take = std::function<void(std::uint64_t offset, std::span<const std::byte> bytes)>;
  void read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks, const Take& take);
  /// Fills `out` with them.
  void read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks,
            std::span<std::byte> out);

  /// Fills what rank `rank` of `target.layout` holds from the tensor of the same name, converted
  /// between f32, bf16 and f64. Throws Error when there is none, or it has another shape.
  void load(std::string_view part, const LogicalTensor& target, int rank);
  /// The same from another tensor.
  void load(const Manifest::StoredTensor& stored, const LogicalTensor& target, int rank);

  /// Reads everything and compares every hash. Calls `bad` with what is wrong about each tensor or
  /// file that is damaged; returns how many are.
  std::size_t verify(const std::function<void(const std::string&)>& bad);

  /// Of blocks, so far.
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  struct OpenFile {
    File file;
    bool checked = false;
  };
  const File& open(std::size_t file);
  void check_places(std::size_t file, FileImage& image);
  void read_from(const Manifest::StoredTensor& tensor, const Manifest::StoredBlock& stored,
                 const Block& wanted, const Take& take);
  std::span<const std::byte> read_pieces(const Manifest::StoredTensor& tensor,
                                         const Manifest::StoredBlock& stored, std::uint64_t first,
                                         std::uint64_t count);

  std::filesystem::path directory_;
  Manifest manifest_;
  std::vector<OpenFile> files_;
  std::vector<std::byte> pieces_;
  std::uint64_t bytes_read_ = 0;
};

/// Values of one type as values of another, on the host: f32, bf16 and f64 into each other.
/// Throws Error for other types that differ.
void convert_values(ConstBuffer from, Buffer to);

}  // namespace train
