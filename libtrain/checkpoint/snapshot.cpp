#include "libtrain/checkpoint/snapshot.hpp"

#include <new>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

using SavedTensor = CheckpointSnapshot::SavedTensor;

void check_name(const std::string& name) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  if (!plain) throw Error(fmt::format("cannot save a tensor or part named \"{}\"", name));
}

Block relative_to(Block block, const Block& base) {
  for (int i = 0; i < block.extent.rank(); ++i) block.offset[i] -= base.offset[i];
  return block;
}

// One stored block out of this rank's memory of the tensor.
void copy_block(const LogicalTensor& tensor, const StorageBlock& stored, std::span<std::byte> out) {
  const auto held = tensor.layout.blocks(stored.rank);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < stored.within; ++i) begin += held[i].elements();
  const Block& home = held[stored.within];
  const std::size_t element_bytes = size_of(tensor.type);
  std::size_t at = 0;
  std::int64_t run_begin = 0, run_count = 0;
  const auto flush = [&] {
    if (run_count == 0) return;
    const std::size_t bytes = static_cast<std::size_t>(run_count) * element_bytes;
    tensor.local.slice(begin + run_begin, {run_count}).copy_to_host(out.subspan(at, bytes));
    at += bytes;
  };
  // Rows that follow each other in memory go at once.
  for_each_run(home.extent, relative_to(stored.block, home),
               [&](std::int64_t first, std::int64_t count) {
                 if (run_count > 0 && first == run_begin + run_count) {
                   run_count += count;
                   return;
                 }
                 flush();
                 run_begin = first;
                 run_count = count;
               });
  flush();
}

}  // namespace

void CheckpointSnapshot::take(const CheckpointContents& contents, int rank) {
  if (!nlohmann::json::parse(contents.extra, nullptr, false).is_object()) {
    throw Error("cannot save a checkpoint: what goes with the tensors is not a JSON object");
  }
  if (!same_plan(contents, rank)) plan(contents, rank);
  step_ = contents.step;
  extra_ = contents.extra;
  copy(contents);
}

std::uint64_t CheckpointSnapshot::bytes_total() const {
  std::uint64_t bytes = 0;
  for (const SavedTensor& tensor : tensors_) {
    bytes += static_cast<std::uint64_t>(tensor.layout.shape().elements()) * size_of(tensor.type);
  }
  return bytes;
}

bool CheckpointSnapshot::same_plan(const CheckpointContents& contents, int rank) const {
  if (rank != rank_) return false;
  std::size_t i = 0;
  for (const CheckpointPart& part : contents.parts) {
    for (const LogicalTensor& tensor : part.tensors) {
      if (i == tensors_.size()) return false;
      const SavedTensor& saved = tensors_[i++];
      if (saved.name != tensor.name || saved.part != part.name || saved.type != tensor.type ||
          saved.layout != tensor.layout) {
        return false;
      }
    }
  }
  return i == tensors_.size();
}

void CheckpointSnapshot::plan(const CheckpointContents& contents, int rank) {
  rank_ = -1;
  tensors_.clear();
  used_ = 0;
  for (const CheckpointPart& part : contents.parts) {
    check_name(part.name);
    for (const LogicalTensor& tensor : part.tensors) {
      check_name(tensor.name);
      SavedTensor saved{part.name, tensor.name, tensor.type, tensor.layout, {}};
      try {
        saved.blocks = plan_storage(tensor.layout, size_of(tensor.type), tensors_.size());
      } catch (const Error& error) {
        throw Error(fmt::format("cannot save tensor {}: {}", tensor.name, error.what()));
      }
      for (const StorageBlock& stored : saved.blocks) {
        if (stored.rank == rank) used_ += saved.bytes_of(stored);
      }
      tensors_.push_back(std::move(saved));
    }
  }
  reserve(rank);
  rank_ = rank;
}

void CheckpointSnapshot::reserve(int rank) {
  if (used_ <= capacity_) return;
  buffer_.reset();
  capacity_ = 0;
  try {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(used_);
  } catch (const std::bad_alloc&) {
    throw Error(fmt::format("no memory for a copy of the state: {} bytes on rank {}", used_, rank));
  }
  capacity_ = used_;
}

void CheckpointSnapshot::copy(const CheckpointContents& contents) {
  std::size_t at = 0, i = 0;
  for (const CheckpointPart& part : contents.parts) {
    for (const LogicalTensor& tensor : part.tensors) {
      const SavedTensor& saved = tensors_[i++];
      for (const StorageBlock& stored : saved.blocks) {
        if (stored.rank != rank_) continue;
        const std::size_t bytes = saved.bytes_of(stored);
        copy_block(tensor, stored, {buffer_.get() + at, bytes});
        at += bytes;
      }
    }
  }
}

}  // namespace train
