#pragma once

#include <CLI/CLI.hpp>

#include "examples/gpt/train_arguments.hpp"

/// Model, grid, batch and rounds: flags that train_gpt and plan_grid have in common, and what they
/// say.

void add_model_flags(CLI::App& app, TrainArguments& arguments);
void add_parallel_flags(CLI::App& app, TrainArguments& arguments);
void add_batch_flags(CLI::App& app, TrainArguments& arguments);

constexpr const char* job_group = "One of several clusters";
/// What the clusters of a job do alike.
void add_round_flags(CLI::App& app, TrainArguments& arguments);
/// Throws Error for what cannot be.
void finish_rounds(TrainArguments& arguments);

train::OptimizerOptions optimizer_options(const TrainArguments& arguments);

/// What a rank's memory depends on, of a model on such a grid.
train::TrainingShape training_shape(const TrainArguments& arguments, const train::GptConfig& config,
                                    const train::GridShape& grid);
