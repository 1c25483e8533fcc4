#pragma once

#include <memory>
#include <optional>

#include "examples/gpt/starting_weights.hpp"
#include "examples/gpt/train_arguments.hpp"

/// Which model train_gpt trains: that of a run that goes on, of --init, or of the flags.

/// The tokenizer that a run or --init was trained with; nullptr where there is none.
std::shared_ptr<const train::Tokenizer> saved_tokenizer(const std::optional<StartingWeights>& start,
                                                        const std::optional<train::RunState>& run);

/// Throws Error where flags say another model than the run or --init.
train::GptConfig choose_config(const TrainArguments& arguments, const train::TokenDataset& data,
                               const std::optional<StartingWeights>& start,
                               const std::optional<train::RunState>& run);
