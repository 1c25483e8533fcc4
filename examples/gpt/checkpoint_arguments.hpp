#pragma once

#include <memory>
#include <optional>

#include "examples/gpt/train_arguments.hpp"

/// What train_gpt does with checkpoints: nothing without --checkpoint.

/// The store that the arguments name; nullptr without one.
std::unique_ptr<train::CheckpointStore> open_store(const TrainArguments& arguments);

/// With --resume, the run that the store's newest checkpoint is of, if there is one. Throws Error
/// when the store holds checkpoints and nobody asked to go on with them. Collective.
std::optional<train::RunState> find_run(const train::CheckpointStore* store,
                                        const TrainArguments& arguments,
                                        train::Communicator& world);

/// Takes seed, model and dropout from the run where no flag names them; throws Error where one
/// names another.
void go_on_with(const train::RunState& run, TrainArguments& arguments);

/// Throws Error when the data are not those that the run has read, unless --new-data says so.
void require_same_data(const train::RunState& run, const train::TokenDataset& data,
                       const TrainArguments& arguments);

/// Prints events on rank 0.
train::CheckpointSaver::OnEvent checkpoint_log(const TrainArguments& arguments, int rank);

/// Loads the run, if there is one, and has the trainer save. Collective. Returns nullptr without a
/// store.
std::unique_ptr<train::TrainingCheckpoints> attach_checkpoints(
    const TrainArguments& arguments, train::CheckpointStore* store, const train::Grid& grid,
    train::ShardedOptimizer& optimizer, train::RunState run, train::Rounds* rounds,
    train::Trainer& trainer, bool resume);
