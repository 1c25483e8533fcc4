#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/model/sampler.hpp"

namespace train {

/// Continues a text, a token at a time. When the model's context is full, the newer half of the
/// text goes through the model again and generation goes on after it.
class Generator {
 public:
  /// Remembers up to `capacity` tokens, if that is less than the model's context: whoever knows how
  /// long the text will be needs no memory for a context of 131072.
  Generator(Gpt& model, SamplingOptions options,
            std::int64_t capacity = std::numeric_limits<std::int64_t>::max());

  /// Reads the prompt (at least one token); of a prompt longer than the context, its end.
  void begin(std::span<const std::int32_t> prompt);
  /// The next token, which becomes part of the text.
  std::int32_t next();

 private:
  void feed(std::span<const std::int32_t> tokens);

  Gpt& model_;
  Sampler sampler_;
  KeyValueCache cache_;
  std::vector<std::int32_t> text_;
  std::vector<float> logits_;  // after the last token of text_
};

}  // namespace train
