#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/checkpoint/checkpoint_reader.hpp"
#include "libtrain/checkpoint/shard_writer.hpp"
#include "libtrain/checkpoint/snapshot.hpp"
#include "libtrain/checkpoint/store_lock.hpp"

namespace train {

struct StoreOptions {
  CheckpointLayout layout = CheckpointLayout::sharded;
  /// The newest so many stay when another one is saved; 0: all.
  int keep = 3;
  /// Besides, those whose step is a multiple of this stay for ever; 0: none.
  std::int64_t keep_every = 0;
};

/// What became of a save.
struct SaveReport {
  std::filesystem::path directory;
  std::uint64_t bytes = 0;  ///< of tensors
  /// What did not go well after the checkpoint was durable; "" when all did. On rank 0.
  std::string warning;
};

/// The checkpoints of a run, each in a directory of its own under one that all ranks see:
///   runs/a/step-00001000/manifest.json, rank-00000.h5, …    runs/a/latest -> step-00001000
///
/// A checkpoint appears whole or not at all: tensors go to `.step-00001000.partial`; files and
/// directory are synced; then comes the manifest; then the rename to the final name, then `latest`.
/// The ones before stay until then, and what an interrupted save has left is removed by the next.
/// One job at a time saves into a directory; any number of programs may read.
class CheckpointStore {
 public:
  /// Touches nothing yet.
  explicit CheckpointStore(std::filesystem::path directory, StoreOptions options = {});

  const std::filesystem::path& directory() const { return directory_; }
  const StoreOptions& options() const { return options_; }

  /// Makes the directory and claims it for this job, so that a run finds out at its beginning that
  /// it cannot save. Collective; throws Error on every rank.
  void prepare(Communicator& ranks);

  /// Saves contents that must not change meanwhile, and returns when they are durable. A checkpoint
  /// of the same step is replaced. Collective; throws the same Error on every rank, with the older
  /// checkpoints as they were and nothing left of the new one, also when ranks differ in the step
  /// or in the tensors, but for the blocks that they have.
  SaveReport save(Communicator& ranks, const CheckpointContents& contents);
  /// The same from a snapshot. The group may give it up.
  SaveReport save(SaveGroup& group, const CheckpointSnapshot& snapshot);

  struct Entry {
    std::int64_t step = 0;
    std::filesystem::path directory;
  };
  /// By step.
  std::vector<Entry> list() const;
  /// In the order in which they should be tried: the one that `latest` names, then those of lower
  /// steps, from the highest down, then the others.
  std::vector<Entry> newest_first() const;

  /// That of a step. Throws Error with the steps that there are.
  Entry find(std::int64_t step) const;

  /// For a run that goes back to this step: checkpoints of later ones move, newest first, to
  /// `set-aside-1` (or the next number) beside them, where nothing is counted or removed, and
  /// `latest` names this step. Durable when it returns. Returns that directory; "" when there was
  /// nothing to move. Collective; throws Error on every rank.
  std::filesystem::path set_aside_after(Communicator& ranks, std::int64_t step);
  /// From now on this one stays, whatever the options say.
  void hold(std::int64_t step) { held_ = step; }

  struct LoadOptions {
    /// Load this one and no other; "": the newest.
    std::filesystem::path only = {};
    /// Try the one before when a checkpoint is damaged.
    bool fall_back = false;
    /// Called on rank 0 with what is wrong with each that was passed over.
    std::function<void(const std::string&)> warn = {};
  };
  /// Calls `load` on every rank with the newest checkpoint, opened. When it throws on any rank and
  /// falling back is allowed, again with the one before. Returns the directory that was loaded; ""
  /// when the store holds none. Throws Error when the newest does not load, or none does: nobody
  /// starts anew by mistake. Collective.
  std::filesystem::path load(Communicator& ranks,
                             const std::function<void(CheckpointReader&)>& load,
                             const LoadOptions& options);

 private:
  void begin(const std::filesystem::path& partial, std::uint64_t bytes);
  void publish(const std::filesystem::path& partial, const std::filesystem::path& final,
               const Manifest& manifest);
  std::string remove_old(std::int64_t step);
  void require_space(std::uint64_t bytes) const;

  std::filesystem::path directory_;
  StoreOptions options_;
  std::optional<std::int64_t> held_;
  StoreLock lock_;  // on rank 0
};

/// "1000, 2000, 3000"; of many, the last.
std::string steps_of(const std::vector<CheckpointStore::Entry>& entries);

/// "step-00001000"
std::string checkpoint_name(std::int64_t step);
/// And back; nothing where the name is no checkpoint's.
std::optional<std::int64_t> step_of_checkpoint(std::string_view name);

}  // namespace train
