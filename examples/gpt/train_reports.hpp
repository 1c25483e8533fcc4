#pragma once

#include <functional>
#include <string>

#include "examples/gpt/train_arguments.hpp"

/// What train_gpt shows and writes while it trains.

/// Where a program puts lines beside its progress; from any thread.
using Say = std::function<void(const std::string&)>;

/// A machine that begins to swap, or kills the program, gives no reason.
void warn_of_memory(const train::Job& job, const TrainArguments& arguments,
                    const train::GptConfig& config, const train::Grid& grid);

/// Model, data and device, before the first step.
void announce(const train::Job& job, const TrainArguments& arguments, const train::Gpt& model,
              const train::TokenDataset& data, const train::Device& device);

/// Progress on rank 0. Other lines go above it where it is one line that is rewritten.
Say add_console(const TrainArguments& arguments, const train::Grid& grid, train::Trainer& trainer);

/// A run that `goes_on` keeps what was written of steps before its first one.
void add_metrics(const TrainArguments& arguments, const train::Grid& grid, bool goes_on,
                 const Say& say, train::Trainer& trainer);

/// What every rank's memory held. Collective.
void report_memory(const train::Grid& grid);
