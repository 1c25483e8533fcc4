#include "libtrain/checkpoint/snapshot.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "libtrain/checkpoint/manifest.hpp"
#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

void check_name(const std::string& name) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  if (!plain) throw Error(fmt::format("cannot save a tensor or part named \"{}\"", name));
}

Block relative_to(Block block, const Block& base) {
  for (int i = 0; i < block.extent.rank(); ++i) block.offset[i] -= base.offset[i];
  return block;
}

// How much of a tensor is copied at a time: of the host's memory a piece, which is hashed while it
// is in the processor's cache; of a device's so much that its copies overlap.
std::uint64_t stretch_bytes(const LogicalTensor& tensor) {
  constexpr std::uint64_t device_bytes = 16 * snapshot_piece_bytes;
  const bool on_device = tensor.local.defined() && !tensor.local.memory().on_host();
  return on_device ? device_bytes : snapshot_piece_bytes;
}

// Once for all copies that follow: each would else wait for work that was given meanwhile.
void wait_for_work(const std::vector<const LogicalTensor*>& tensors) {
  std::unordered_set<Memory*> memories;
  for (const LogicalTensor* tensor : tensors) {
    if (tensor->local.defined()) memories.insert(&tensor->local.memory());
  }
  for (Memory* memory : memories) memory->wait_for_work();
}

// One stored block out of this rank's memory of a tensor, whose work is done, a stretch at a time.
class BlockBytes {
 public:
  BlockBytes(const LogicalTensor& tensor, const StorageBlock& stored)
      : tensor_(tensor), element_bytes_(size_of(tensor.type)) {
    const auto held = tensor.layout.blocks(stored.rank);
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < stored.within; ++i) begin += held[i].elements();
    const Block& home = held[stored.within];
    // Rows that follow each other in memory go at once.
    for_each_run(home.extent, relative_to(stored.block, home),
                 [&](std::int64_t first, std::int64_t count) {
                   if (!runs_.empty() && runs_.back()[0] + runs_.back()[1] == begin + first) {
                     runs_.back()[1] += count;
                   } else {
                     runs_.push_back({begin + first, count});
                   }
                 });
  }

  // The next bytes; their number is a multiple of the element's.
  void next(std::span<std::byte> out) {
    while (!out.empty()) {
      auto& [first, count] = runs_[run_];
      const auto wanted = static_cast<std::int64_t>(out.size() / element_bytes_);
      const std::int64_t now = std::min(count, wanted);
      const std::size_t bytes = static_cast<std::size_t>(now) * element_bytes_;
      tensor_.local.slice(first, {now}).copy_to_host_at_once(out.first(bytes));
      out = out.subspan(bytes);
      first += now;
      count -= now;
      if (count == 0) ++run_;
    }
  }

 private:
  const LogicalTensor& tensor_;
  std::size_t element_bytes_;
  std::vector<std::array<std::int64_t, 2>> runs_;  // element, count
  std::size_t run_ = 0;
};

// visit(offset, bytes) for each stretch of `bytes`, or piece of a stretch.
template <typename Visit>
void for_each(std::uint64_t stretch, std::uint64_t bytes, Visit visit) {
  for (std::uint64_t at = 0; at < bytes; at += stretch) visit(at, std::min(stretch, bytes - at));
}

// visit(piece, hash) for each piece.
template <typename Visit>
void for_each_hashed(std::span<const std::byte> bytes, Visit visit) {
  for_each(snapshot_piece_bytes, bytes.size(), [&](std::uint64_t at, std::uint64_t count) {
    const auto piece = bytes.subspan(at, count);
    visit(piece, XXH3_64bits(piece.data(), piece.size()));
  });
}

}  // namespace

void CheckpointSnapshot::take(const CheckpointContents& contents, int rank) {
  describe(contents, rank);
  reserve();
  sources_.clear();
  hashes_.clear();
  std::vector<const LogicalTensor*> tensors;
  for (const CheckpointPart& part : contents.parts) {
    for (const LogicalTensor& tensor : part.tensors) tensors.push_back(&tensor);
  }
  wait_for_work(tensors);
  for (const OwnBlock& own : own_) {
    const LogicalTensor& tensor = *tensors[own.tensor];
    BlockBytes source(tensor, stored(own));
    for_each(stretch_bytes(tensor), own.bytes, [&](std::uint64_t at, std::uint64_t bytes) {
      const std::span<std::byte> stretch(buffer_.get() + own.begin + at, bytes);
      source.next(stretch);
      for_each_hashed(stretch, [&](auto, std::uint64_t hash) { hashes_.push_back(hash); });
    });
  }
}

void CheckpointSnapshot::refer_to(const CheckpointContents& contents, int rank) {
  describe(contents, rank);
  sources_.clear();
  std::vector<const LogicalTensor*> tensors;
  for (const CheckpointPart& part : contents.parts) {
    sources_.insert(sources_.end(), part.tensors.begin(), part.tensors.end());
    for (const LogicalTensor& tensor : part.tensors) tensors.push_back(&tensor);
  }
  wait_for_work(tensors);
}

void CheckpointSnapshot::describe(const CheckpointContents& contents, int rank) {
  if (!nlohmann::json::parse(contents.extra, nullptr, false).is_object()) {
    throw Error("cannot save a checkpoint: what goes with the tensors is not a JSON object");
  }
  if (!same_plan(contents, rank)) plan(contents, rank);
  step_ = contents.step;
  extra_ = contents.extra;
}

void CheckpointSnapshot::read(
    std::size_t index,
    const std::function<void(std::span<const std::byte>, std::uint64_t)>& write) const {
  const OwnBlock& own = own_.at(index);
  if (sources_.empty()) {
    std::size_t hash = own.first_hash;
    for_each(snapshot_piece_bytes, own.bytes, [&](std::uint64_t at, std::uint64_t bytes) {
      write({buffer_.get() + own.begin + at, bytes}, hashes_[hash++]);
    });
    return;
  }
  const LogicalTensor& tensor = sources_[own.tensor];
  BlockBytes source(tensor, stored(own));
  const std::uint64_t stretch = stretch_bytes(tensor);
  std::vector<std::byte> staging(std::min(own.bytes, stretch));
  for_each(stretch, own.bytes, [&](std::uint64_t, std::uint64_t bytes) {
    const auto copied = std::span(staging).first(bytes);
    source.next(copied);
    for_each_hashed(copied, write);
  });
}

std::uint64_t CheckpointSnapshot::plan_hash() const {
  std::string text;
  for (const SavedTensor& tensor : tensors_) {
    text += fmt::format("{} {} {}", tensor.part, tensor.name, name_of(tensor.type));
    for (int axis = 0; axis < tensor.layout.shape().rank(); ++axis) {
      text += fmt::format(" {}", tensor.layout.shape()[axis]);
    }
    for (const StorageBlock& stored : tensor.blocks) {
      text += fmt::format(" {}:{}:{}", stored.rank, stored.within, stored.block.elements());
    }
    text += "\n";
  }
  return XXH3_64bits(text.data(), text.size());
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
  own_.clear();
  used_ = 0;
  std::size_t hashes = 0;
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
      for (std::size_t i = 0; i < saved.blocks.size(); ++i) {
        if (saved.blocks[i].rank != rank) continue;
        const std::uint64_t bytes = saved.bytes_of(saved.blocks[i]);
        own_.push_back({tensors_.size(), i, used_, bytes, hashes});
        used_ += bytes;
        hashes += pieces_of(bytes, snapshot_piece_bytes);
      }
      tensors_.push_back(std::move(saved));
    }
  }
  rank_ = rank;
}

void CheckpointSnapshot::reserve() {
  if (used_ <= capacity_) return;
  buffer_.reset();
  capacity_ = 0;
  try {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(used_);
  } catch (const std::bad_alloc&) {
    throw Error(
        fmt::format("no memory for a copy of the state: {} bytes on rank {}", used_, rank_));
  }
  capacity_ = used_;
}

}  // namespace train
