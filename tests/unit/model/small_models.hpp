#pragma once

#include <cstdint>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/tensor/philox.hpp"

/// Models small enough for finite differences, and batches for them.
namespace small {

inline train::GptConfig gpt2() {
  train::GptConfig config;
  config.layers = 2;
  config.heads = config.kv_heads = 2;
  config.width = 8;
  config.head_width = 4;
  config.hidden = 12;
  config.context = 6;
  config.vocabulary = 11;
  return config;
}

inline train::GptConfig llama() {
  train::GptConfig config = gpt2();
  config.heads = 4;
  config.kv_heads = 2;
  config.head_width = 2;
  config.norm = train::Norm::rms_norm;
  config.positions = train::Positions::rotary;
  config.mlp = train::MlpKind::swiglu;
  config.bias = false;
  config.tied_head = false;
  return config;
}

/// Positions stretched like those of Llama 3.1.
inline train::GptConfig stretched_llama() {
  train::GptConfig config = llama();
  config.head_width = 4;
  config.rope_scaling = train::RotaryScaling{.factor = 3.0f, .original_context = 8};
  return config;
}

/// Random tokens that own the memory which `batch()` shows.
struct Tokens {
  Tokens(const train::GptConfig& config, std::int64_t sequences, std::uint64_t seed = 7)
      : context(config.context), count(sequences) {
    const train::Philox random(seed, "test tokens");
    for (std::int64_t i = 0; i < context * count; ++i) {
      const auto bits = random(0, static_cast<std::uint64_t>(i));
      inputs.push_back(static_cast<std::int32_t>(bits[0] % config.vocabulary));
      targets.push_back(static_cast<std::int32_t>(bits[1] % config.vocabulary));
    }
  }

  train::Batch batch() const { return part(0, count); }
  /// Sequences [first, first + sequences) of a step that holds all.
  train::Batch part(std::int64_t first, std::int64_t sequences) const {
    train::Batch batch;
    const auto begin = static_cast<std::size_t>(first * context);
    const auto length = static_cast<std::size_t>(sequences * context);
    batch.inputs = std::span(inputs).subspan(begin, length);
    batch.targets = std::span(targets).subspan(begin, length);
    batch.sequences = sequences;
    batch.context = context;
    batch.first_sequence = first;
    batch.tokens_in_step = count * context;
    return batch;
  }

  std::int64_t context;
  std::int64_t count;
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> targets;
};

inline void give_gradients(train::Gpt& model) {
  for (const auto& parameter : model.parameters()) {
    parameter->set_gradient(
        train::Tensor(model.device().memory(), parameter->shape(), parameter->value().type()));
  }
}

}  // namespace small
