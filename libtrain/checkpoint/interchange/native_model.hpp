#pragma once

#include <filesystem>
#include <memory>

#include "libtrain/checkpoint/interchange/model_source.hpp"

namespace train {

/// The model of one checkpoint; see open_model().
std::unique_ptr<ModelSource> open_checkpoint_model(const std::filesystem::path& directory,
                                                   bool full_precision);

/// A weights file of libtrain.
std::unique_ptr<ModelSource> open_weights_model(const std::filesystem::path& path);

/// A weights file of libtrain: for --init and --weights. Throws Error naming file and tensor.
void write_native(const std::filesystem::path& path, ModelSource& model, DataType type);

/// A checkpoint at step 0 in a directory of checkpoints, without optimizer state: for --init,
/// --checkpoint and fine-tuning. Holds the whole model in memory. Throws Error where the directory
/// holds checkpoints of later steps: those of a run.
std::filesystem::path write_model_checkpoint(const std::filesystem::path& directory,
                                             ModelSource& model, DataType type);

}  // namespace train
