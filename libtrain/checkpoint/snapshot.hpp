#pragma once

#include <cstddef>
#include <cstdint>
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

/// A copy of what this rank will write of the contents, in host memory that is kept for the next
/// one: as many bytes as the state has, divided by the ranks.
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

  std::int64_t step() const { return step_; }
  const std::string& extra() const { return extra_; }
  const std::vector<SavedTensor>& tensors() const { return tensors_; }
  /// This rank's blocks, in the order of `tensors` and their `blocks`, one after another.
  std::span<const std::byte> bytes() const { return {buffer_.get(), used_}; }
  /// Of all ranks.
  std::uint64_t bytes_total() const;

 private:
  bool same_plan(const CheckpointContents& contents, int rank) const;
  void plan(const CheckpointContents& contents, int rank);
  void reserve(int rank);
  void copy(const CheckpointContents& contents);

  int rank_ = -1;
  std::int64_t step_ = 0;
  std::string extra_;
  std::vector<SavedTensor> tensors_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
};

}  // namespace train
