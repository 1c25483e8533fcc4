#pragma once

#include <filesystem>
#include <memory>

#include "libtrain/checkpoint/interchange/model_source.hpp"

namespace train {

/// Opens a checkpoint or a directory of checkpoints (its newest), a safetensors file of libtrain, a
/// model as Hugging Face writes it (directory, file or index, with config.json beside), or llm.c's
/// model .bin. From a bf16 checkpoint, `full_precision` takes its f32 copies.
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path,
                                        bool full_precision = false);

}  // namespace train
