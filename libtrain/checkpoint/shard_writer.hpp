#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "libtrain/checkpoint/manifest.hpp"
#include "libtrain/checkpoint/save_group.hpp"
#include "libtrain/checkpoint/snapshot.hpp"

namespace train {

/// How a checkpoint's bytes lie in files.
enum class CheckpointLayout : std::uint8_t {
  sharded,  ///< one file per rank
  single,   ///< one file, which all ranks write at once, each its own blocks
};
/// "sharded" or "single"; throws Error naming the flag otherwise.
CheckpointLayout checkpoint_layout_from(const std::string& name);

/// Writes the tensors of a snapshot into HDF5 files in `directory`, which is there and empty, all
/// ranks at the same time, and waits until they are on the disk. Returns the manifest on rank 0.
/// Collective; throws the same Error on every rank.
Manifest write_shards(SaveGroup& group, const std::filesystem::path& directory,
                      const CheckpointSnapshot& snapshot, CheckpointLayout layout);

}  // namespace train
