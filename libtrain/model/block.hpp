#pragma once

#include <string>
#include <string_view>

#include "libtrain/model/key_value_cache.hpp"
#include "libtrain/model/layers.hpp"

namespace train {

/// Activations that the backward pass computes again instead of keeping them.
enum class Recompute : std::uint8_t {
  none,
  attention,  ///< what attention makes of its normed input; costs its forward pass once more
  block,      ///< all of a block but its input; costs the block's forward pass once more
};

/// "none", "attention", "block"; throws Error otherwise.
Recompute recompute_from(std::string_view text);

/// Where a forward pass stands, and on what it runs: what dropout and positions depend on.
struct ForwardContext {
  const Execution* execution = nullptr;
  AttentionShape attention;
  std::int64_t first_head = 0;  ///< this rank's heads begin there
  std::int64_t first_row = 0;   ///< this rank's rows of the residual stream begin there
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::int64_t first_sequence = 0;
  Recompute recompute = Recompute::none;
};

/// Self-attention with fused query, key and value projection.
class Attention {
 public:
  Attention(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x, const ForwardContext& context) const;
  /// Generation: `context.attention.context` new positions per sequence after those in the cache.
  Value extend(Tape& tape, const Value& x, const ForwardContext& context, LayerCache& cache,
               std::int64_t position) const;

 private:
  Dropout probability_dropout(const ForwardContext& context) const;

  std::string name_;
  bool rotary_;
  float rope_theta_;
  float dropout_;
  Linear qkv_;
  Linear out_;
};

/// GELU or SwiGLU.
class Mlp {
 public:
  Mlp(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x, const Execution& execution) const;

 private:
  MlpKind kind_;
  Linear up_;
  Linear down_;
};

/// x + attention(norm(x)), then x + mlp(norm(x)).
class TransformerBlock {
 public:
  TransformerBlock(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  TransformerBlock(const TransformerBlock&) = delete;
  TransformerBlock& operator=(const TransformerBlock&) = delete;

  Value forward(Tape& tape, const Value& x, const ForwardContext& context) const;
  Value extend(Tape& tape, Value x, const ForwardContext& context, LayerCache& cache,
               std::int64_t position) const;

 private:
  Value run(Tape& tape, Value x, const ForwardContext& context) const;
  Value branch_dropout(Tape& tape, const Value& x, const ForwardContext& context,
                       const char* branch) const;

  std::string name_;
  float dropout_;
  NormLayer attention_norm_;
  Attention attention_;
  NormLayer mlp_norm_;
  Mlp mlp_;
};

/// The dropout of the residual stream's rows of width `width`, keyed by the name of its place.
Dropout row_dropout(float probability, const ForwardContext& context, const std::string& place,
                    std::int64_t width);

}  // namespace train
