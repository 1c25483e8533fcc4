#pragma once

#include <memory>
#include <optional>

#include "examples/gpt/train_arguments.hpp"
#include "examples/gpt/train_reports.hpp"

/// What train_gpt does with checkpoints: nothing without --checkpoint.

/// The store that the arguments name; nullptr without one.
std::unique_ptr<train::CheckpointStore> open_store(const TrainArguments& arguments);

/// With --resume or --resume-from, where the run goes on, if there is anything. Throws Error when
/// the store holds checkpoints and nobody asked to go on with them. Collective.
std::optional<train::ResumePoint> find_run(const train::CheckpointStore* store,
                                           const TrainArguments& arguments,
                                           train::Communicator& world);

/// Takes seed and dropout from the run where no flag names them; throws Error where one names
/// another seed.
void go_on_with(const train::ResumePoint& point, TrainArguments& arguments);

/// Prints events on rank 0.
train::CheckpointSaver::OnEvent checkpoint_log(const TrainArguments& arguments, int rank,
                                               const Say& say);

/// Has the trainer save `run`, and loads what it goes on from. Throws Error when that run has read
/// other data, unless --new-data says so. Collective. Returns nullptr without a store.
std::unique_ptr<train::TrainingCheckpoints> attach_checkpoints(
    const TrainArguments& arguments, train::CheckpointStore* store,
    const std::optional<train::ResumePoint>& point, const train::Grid& grid,
    train::ShardedOptimizer& optimizer, const train::RunState& run, train::Rounds* rounds,
    train::Trainer& trainer, const Say& say);
