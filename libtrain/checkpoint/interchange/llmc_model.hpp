#pragma once

#include <filesystem>
#include <memory>

#include "libtrain/checkpoint/interchange/model_source.hpp"

namespace train {

/// True for a file that begins like llm.c's model (magic 20240326).
bool is_llmc_model(const std::filesystem::path& path);

/// GPT-2 as llm.c's train_gpt2.py writes it: 256 words of header, then each parameter of all layers
/// in f32 (version 3) or bf16 (version 5). The vocabulary's padding rows are left out. Throws Error
/// when the file is cut off, or speaks of what cannot be.
std::unique_ptr<ModelSource> open_llmc_model(const std::filesystem::path& path);

/// The same way back: a vocabulary padded with zeros to a multiple of 128; zeros for biases that
/// the model does not have. Throws Error when the model is not of GPT-2's form.
void write_llmc_model(const std::filesystem::path& path, ModelSource& model, DataType type);

}  // namespace train
