#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "collectives/communicator.hpp"
#include "libtrain/checkpoint/run_state.hpp"
#include "libtrain/checkpoint/store.hpp"

namespace train {

/// What a run wants to go on from.
struct ResumeRequest {
  /// A step of the run's own store, or the path of one checkpoint, which may be another run's; "":
  /// the newest of the store.
  std::string from = {};
  /// Of a command that may be started again: where the store's newest checkpoint was made since the
  /// run began so, that one instead.
  bool or_newest = false;
};

/// Where it does.
struct ResumePoint {
  RunState run;  ///< as the checkpoint has it
  /// The checkpoint that was asked for: it is loaded, or nothing is. "": the newest that is whole.
  std::filesystem::path checkpoint = {};
  /// In the run's own store: what is later there is set aside.
  bool own = true;
  std::int64_t step = 0;
};

/// Comes before the model is made. Rank 0 looks, so that all ranks see the same; nothing is
/// changed. Nothing when the newest is asked for and there is none. Collective; throws Error on
/// every rank when checkpoints are there and none can be read, when what is asked for is not there
/// or damaged (with the steps that are there), when it is another run's and the store holds
/// checkpoints already, and when ranks ask for different things.
std::optional<ResumePoint> find_resume_point(const CheckpointStore& store, Communicator& world,
                                             const ResumeRequest& request);

}  // namespace train
