#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/model/gpt_config.hpp"

namespace train {

/// How a tensor of Hugging Face's relates to one of libtrain's.
struct HuggingFaceTensor {
  std::string name;                ///< with the prefix of the model with a head
  std::string native;              ///< "" for a bias that libtrain's model does not have: zeros
  std::int64_t row = 0, rows = 0;  ///< of the native tensor
  std::int64_t width = 1;          ///< of a native row
  bool matrix = true;              ///< else a vector
  bool transposed = false;         ///< Conv1D keeps [in, out]

  std::vector<std::int64_t> shape() const;
};

/// All tensors of a model, GPT-2's or Llama's by the configuration. Libtrain's rotary positions
/// pair elements like Hugging Face's, so that no rows change places.
std::vector<HuggingFaceTensor> hugging_face_tensors(const GptConfig& config);

/// What may be in a file beside them and means nothing: masks, frequencies, a tied head.
bool is_left_out(std::string_view name);

/// "transformer." or "model.": what the names of a base model lack.
const char* hugging_face_prefix(const GptConfig& config);

/// config.json's text; `tokenizer` may be null. Throws Error when Hugging Face has no such model,
/// naming what differs.
std::string hugging_face_config(const GptConfig& config, DataType type, const Tokenizer* tokenizer);
/// What transformers wants to know beside a tokenizer.json: tokenizer_config.json's text.
std::string hugging_face_tokenizer_config(const GptConfig& config, const Tokenizer& tokenizer);
/// The other way. Throws Error naming what libtrain does not have.
GptConfig config_from_hugging_face(std::string_view text);

}  // namespace train
