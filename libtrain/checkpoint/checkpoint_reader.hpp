#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libtrain/checkpoint/direct_file.hpp"
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

  /// The tensor of a part that has the target's name. Throws Error when there is none.
  const Manifest::StoredTensor& stored(std::string_view part, const LogicalTensor& target) const;

  /// To be filled with what rank `rank` of `target->layout` holds, converted between f32, bf16 and
  /// f64.
  struct Wanted {
    const Manifest::StoredTensor* stored;  ///< of this manifest
    const LogicalTensor* target;
    int rank;
  };
  /// Fills all of them: the disk goes on from one to the next without a pause. Throws Error when
  /// one has another shape than what is stored, before anything has changed, or when something is
  /// damaged; what was whole has then been filled.
  void load(std::span<const Wanted> wanted);
  /// The same for one, by its name.
  void load(std::string_view part, const LogicalTensor& target, int rank);

  /// Reads everything and compares every hash. Calls `bad` with what is wrong about each tensor or
  /// file that is damaged; returns how many are.
  std::size_t verify(const std::function<void(const std::string&)>& bad);

  /// Of blocks, so far.
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  struct OpenFile {
    DirectFile file;
    bool checked = false;
  };
  struct Reading;
  struct Piece;
  class Plan;

  const DirectFile& open(std::size_t file);
  void check_places(std::size_t file, FileImage& image);
  Reading reading_for(const Wanted& wanted) const;
  void read(std::span<const Reading> readings);
  template <typename Use>
  void stream(Plan plan, const Use& use);
  void check(const Piece& piece, std::span<const std::byte> bytes);

  std::filesystem::path directory_;
  Manifest manifest_;
  std::vector<OpenFile> files_;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace train
