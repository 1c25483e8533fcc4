#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "libtrain/checkpoint/run_state.hpp"
#include "libtrain/checkpoint/saver.hpp"
#include "libtrain/checkpoint/training_state.hpp"

namespace train {

/// The state of a run that goes on, from the newest checkpoint of a store that can be read; nothing
/// when there is none. Comes before the model is made. Collective; throws Error on every rank when
/// checkpoints are there and none can be read.
std::optional<RunState> saved_run(const CheckpointStore& store, Communicator& world);

/// Saves a run between its steps, as the trainer asks.
class TrainingCheckpoints {
 public:
  /// `run` is what all checkpoints of this run say alike. Saves every `save_every` steps (0: never)
  /// and after the last one. Collective; everything passed must outlive this.
  TrainingCheckpoints(CheckpointStore& store, Communicator& world, ShardedOptimizer& optimizer,
                      RunState run, std::int64_t save_every, CheckpointSaver::OnEvent on_event);

  /// What else belongs to a run's state: `add` puts parts (which must not change until
  /// before_update() has returned) into each checkpoint and texts into its RunState::more, `load`
  /// takes them out on each rank (it must not call collectives, and may be called again with an
  /// older checkpoint).
  struct Extra {
    std::function<void(CheckpointContents&, RunState&)> add;
    std::function<void(CheckpointReader&, const RunState&)> load;
  };
  void set_extra(Extra extra) { extra_ = std::move(extra); }

  /// Goes on from the store's newest checkpoint that is whole; `warn` hears of those that are not
  /// (rank 0). Returns where in the sample order the run is; nothing when the store holds none.
  /// Collective; throws Error on every rank when there are checkpoints and none loads.
  std::optional<std::uint64_t> resume(const std::function<void(const std::string&)>& warn);

  /// Before parameters or the optimizer's state change.
  void before_update() { saver_.before_change(); }
  /// Between two steps, with the sequences that were read so far. Collective.
  void after_step(std::uint64_t sequences, bool last);
  /// Returns when everything is durable; throws Error when the last save has failed. Collective.
  void finish() { saver_.finish(); }

 private:
  CheckpointStore& store_;
  Communicator& world_;
  ShardedOptimizer& optimizer_;
  RunState run_;
  std::int64_t save_every_;
  Extra extra_;
  CheckpointSaver saver_;
};

}  // namespace train
