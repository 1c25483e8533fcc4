#pragma once

#include <string>

#include "libtrain/model/key_value_cache.hpp"
#include "libtrain/model/layers.hpp"

namespace train {

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
  RotaryFrequencies frequencies_;
  float dropout_;
  Linear qkv_;
  Linear out_;
};

/// GELU or SwiGLU.
class Mlp {
 public:
  Mlp(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x, const ForwardContext& context) const;

 private:
  MlpKind kind_;
  Linear up_;
  Linear down_;
};

/// x + attention(norm(x)), then x + mlp(norm(x)); each sum is left to the norm that reads it next.
class TransformerBlock {
 public:
  TransformerBlock(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  TransformerBlock(const TransformerBlock&) = delete;
  TransformerBlock& operator=(const TransformerBlock&) = delete;

  Residual forward(Tape& tape, Residual stream, const ForwardContext& context) const;
  Residual extend(Tape& tape, Residual stream, const ForwardContext& context, LayerCache& cache,
                  std::int64_t position) const;

 private:
  Residual run(Tape& tape, Residual stream, const ForwardContext& context) const;
  Value attention_branch(Tape& tape, Residual& stream, const ForwardContext& context) const;
  Value mlp_branch(Tape& tape, Residual& stream, const ForwardContext& context) const;
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
