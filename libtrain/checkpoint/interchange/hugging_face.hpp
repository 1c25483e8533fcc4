#pragma once

#include <filesystem>
#include <memory>

#include "libtrain/checkpoint/interchange/model_source.hpp"

namespace train {

/// True when a directory holds config.json and safetensors, or a file lies beside a config.json.
bool is_hugging_face(const std::filesystem::path& path);

/// GPT-2 and Llama as Hugging Face's transformers write them: names with or without the prefix of
/// the model with a head, one file or several, in F32, BF16 or F16 (which becomes f32). The
/// tokenizer is that of a tokenizer.json beside, if there is one; one that cannot be read throws
/// when it is asked for. Throws Error naming the setting or tensor that libtrain does not have.
std::unique_ptr<ModelSource> open_hugging_face(const std::filesystem::path& path);

/// Writes `directory`/config.json and model.safetensors (several files with an index above
/// `shard_bytes_max`), for AutoModelForCausalLM.from_pretrained(). A GPT-2 without biases gets
/// zeros. The model's tokenizer becomes tokenizer.json and tokenizer_config.json, for
/// AutoTokenizer; false if there is none, or none that can be said there (`chars`). Throws Error
/// when Hugging Face has no such model.
bool write_hugging_face(const std::filesystem::path& directory, ModelSource& model, DataType type,
                        std::uint64_t shard_bytes_max = std::uint64_t{5} << 30);

}  // namespace train
