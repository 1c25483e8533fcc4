#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libtrain/checkpoint/storage_plan.hpp"
#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// Tensors that are loaded together or left out together.
struct CheckpointPart {
  std::string name;  ///< "model", "optimizer", "outer", …
  std::vector<LogicalTensor> tensors;
};

/// What is to be saved. All ranks pass the same, but for their own blocks.
struct CheckpointContents {
  std::int64_t step = 0;
  std::vector<CheckpointPart> parts;
  /// A JSON object with whatever else belongs to the state.
  std::string extra = "{}";
};

/// What this rank will write of some contents: a copy in host memory that is kept for the next one
/// (as many bytes as the state has, divided by the ranks), or the tensors themselves.
class CheckpointSnapshot {
 public:
  struct SavedTensor {
    std::string part;
    std::string name;
    DataType type = DataType::f32;
    Layout layout;
    std::vector<StorageBlock> blocks;  ///< of all ranks

    std::uint64_t bytes_of(const StorageBlock& stored) const {
      return static_cast<std::uint64_t>(stored.block.elements()) * size_of(type);
    }
  };

  /// Copies; after return the tensors may change. Plans anew only when names, types or layouts
  /// have changed. Throws Error naming a tensor that no ranks hold in whole, or a bad name.
  void take(const CheckpointContents& contents, int rank);
  /// Copies nothing: the tensors must not change while the snapshot is written.
  void refer_to(const CheckpointContents& contents, int rank);

  std::int64_t step() const { return step_; }
  const std::string& extra() const { return extra_; }
  const std::vector<SavedTensor>& tensors() const { return tensors_; }
  /// Of this rank's blocks, and of all ranks'.
  std::uint64_t bytes() const { return used_; }
  std::uint64_t bytes_total() const;
  /// Of the tensors and of who stores which of their blocks: the same on all ranks, or they cannot
  /// write one checkpoint.
  std::uint64_t plan_hash() const;

  /// Calls write(bytes, hash) for each piece of block `own` of this rank, in order: they are
  /// counted in the order of `tensors` and their `blocks`. Pieces have snapshot_piece_bytes but for
  /// the last; the hash is XXH3. Piece by piece, so that what is copied or read is hashed and
  /// written while it is in the processor's cache.
  void read(std::size_t own,
            const std::function<void(std::span<const std::byte>, std::uint64_t)>& write) const;

 private:
  struct OwnBlock {
    std::size_t tensor;
    std::size_t block;
    std::uint64_t begin, bytes;  ///< in the buffer
    std::size_t first_hash;
  };
  void describe(const CheckpointContents& contents, int rank);
  bool same_plan(const CheckpointContents& contents, int rank) const;
  void plan(const CheckpointContents& contents, int rank);
  void reserve();
  const StorageBlock& stored(const OwnBlock& own) const {
    return tensors_[own.tensor].blocks[own.block];
  }

  int rank_ = -1;
  std::int64_t step_ = 0;
  std::string extra_;
  std::vector<SavedTensor> tensors_;
  std::vector<OwnBlock> own_;
  std::uint64_t used_ = 0;

  std::vector<LogicalTensor> sources_;  // by tensor, when nothing was copied
  std::unique_ptr<std::byte[]> buffer_;
  std::uint64_t capacity_ = 0;
  std::vector<std::uint64_t> hashes_;  // of the buffer's pieces
};

inline constexpr std::uint64_t snapshot_piece_bytes = std::uint64_t{1} << 20;

}  // namespace train
