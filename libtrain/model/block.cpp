#include "libtrain/model/block.hpp"

#include <cmath>

#include <fmt/format.h>

#include "libtrain/autograd/recompute.hpp"
#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

// "Small init" (Nguyen, Salazar: "Transformers without tears", IWSLT 2019; GPT-NeoX): about GPT-2's
// 0.02 at GPT-2's widths, and larger for narrow models, which 0.02 starts too slowly.
float base_deviation(const GptConfig& config) {
  return std::sqrt(2.0f / (5.0f * static_cast<float>(config.width)));
}

// Projections back into the residual stream start smaller, so that the stream's variance does not
// grow with depth (Radford et al.: "Language models are unsupervised multitask learners", 2019).
float residual_deviation(const GptConfig& config) {
  return base_deviation(config) / std::sqrt(2.0f * static_cast<float>(config.layers));
}

}  // namespace

Recompute recompute_from(std::string_view text) {
  if (text == "none") return Recompute::none;
  if (text == "attention") return Recompute::attention;
  if (text == "block") return Recompute::block;
  throw Error(fmt::format("--recompute {}: none, attention and block are known", text));
}

Dropout row_dropout(float probability, const ForwardContext& context, const std::string& place,
                    std::int64_t width) {
  const std::int64_t rows = context.first_sequence * context.attention.context + context.first_row;
  return {probability, Philox(context.seed, place).key(), context.step,
          static_cast<std::uint64_t>(rows * width)};
}

Attention::Attention(ParameterSet& parameters, const std::string& name, const GptConfig& config)
    : name_(name),
      rotary_(config.positions == Positions::rotary),
      frequencies_(config.rope_theta, config.rope_scaling),
      dropout_(config.dropout),
      qkv_(parameters, name + ".qkv",
           {.kind = LayerKind::reader,
            .features = Features::heads,
            .in = config.width,
            .out = (config.heads + 2 * config.kv_heads) * config.head_width,
            .bias = config.bias,
            .deviation = base_deviation(config)}),
      out_(parameters, name + ".out",
           {.kind = LayerKind::writer,
            .features = Features::heads,
            .in = config.heads * config.head_width,
            .out = config.width,
            .bias = config.bias,
            .deviation = residual_deviation(config)}) {}

Value Attention::forward(Tape& tape, const Value& x, const ForwardContext& context) const {
  const AttentionShape& shape = context.attention;
  Value qkv = context.execution->to_sequences(tape, qkv_.forward(tape, x, context), shape);
  if (rotary_) qkv = rotary(tape, qkv, shape, frequencies_);
  Value out = attention(tape, qkv, shape, probability_dropout(context));
  out = context.execution->from_sequences(tape, std::move(out), shape);
  return out_.forward(tape, out, context);
}

// Element ((sequence · all heads + head) · T + query) · T + key of the step.
Dropout Attention::probability_dropout(const ForwardContext& context) const {
  if (dropout_ == 0.0f) return {};
  const AttentionShape& shape = context.attention;
  const std::int64_t first = shape.dropout_index(context.first_sequence, context.first_head);
  return {dropout_, Philox(context.seed, name_ + ".dropout").key(), context.step,
          static_cast<std::uint64_t>(first)};
}

Value Attention::extend(Tape& tape, const Value& x, const ForwardContext& context,
                        LayerCache& cache, std::int64_t position) const {
  const AttentionShape& shape = context.attention;
  const Value qkv = qkv_.forward(tape, x, context);
  if (rotary_) tape.ops().rotary(qkv.tensor(), shape, position, frequencies_, false);
  const Value out(
      tape.empty({shape.batch * shape.context, shape.out_width()}, qkv.tensor().type()));
  tape.ops().attention_extend(qkv.tensor(), shape, position, cache.keys, cache.values,
                              out.tensor());
  return out_.forward(tape, out, context);
}

Mlp::Mlp(ParameterSet& parameters, const std::string& name, const GptConfig& config)
    : kind_(config.mlp),
      up_(parameters, name + (config.mlp == MlpKind::swiglu ? ".gate_up" : ".up"),
          {.kind = LayerKind::reader,
           .features = Features::hidden,
           .in = config.width,
           .out = config.mlp == MlpKind::swiglu ? 2 * config.hidden : config.hidden,
           .bias = config.bias,
           .deviation = base_deviation(config)}),
      down_(parameters, name + ".down",
            {.kind = LayerKind::writer,
             .features = Features::hidden,
             .in = config.hidden,
             .out = config.width,
             .bias = config.bias,
             .deviation = residual_deviation(config)}) {}

Value Mlp::forward(Tape& tape, const Value& x, const ForwardContext& context) const {
  if (kind_ == MlpKind::swiglu) {
    return down_.forward(tape, swiglu(tape, up_.forward(tape, x, context)), context);
  }
  return down_.forward(tape, up_.forward(tape, x, context, Activation::gelu_tanh), context);
}

TransformerBlock::TransformerBlock(ParameterSet& parameters, const std::string& name,
                                   const GptConfig& config)
    : name_(name),
      dropout_(config.dropout),
      attention_norm_(parameters, name + ".attention_norm", config),
      attention_(parameters, name + ".attention", config),
      mlp_norm_(parameters, name + ".mlp_norm", config),
      mlp_(parameters, name + ".mlp", config) {}

Residual TransformerBlock::forward(Tape& tape, Residual stream,
                                   const ForwardContext& context) const {
  if (context.recompute != Recompute::block) return run(tape, std::move(stream), context);
  // One tensor is kept per block, so it is the sum on both sides.
  const auto block = [this, context](Tape& part, const Value& input) {
    return run(part, {input, {}}, context).sum(part);
  };
  return {recompute(tape, stream.sum(tape), block), {}};
}

// The branches are functions of their own so that what they made is let go before the next one.
Residual TransformerBlock::run(Tape& tape, Residual stream, const ForwardContext& context) const {
  stream.branch = attention_branch(tape, stream, context);
  stream.branch = mlp_branch(tape, stream, context);
  return stream;
}

Value TransformerBlock::attention_branch(Tape& tape, Residual& stream,
                                         const ForwardContext& context) const {
  const auto attend = [this, context](Tape& part, const Value& input) {
    return attention_.forward(part, input, context);
  };
  const Value normed = attention_norm_.forward(tape, stream);
  const Value branch = context.recompute == Recompute::attention ? recompute(tape, normed, attend)
                                                                 : attend(tape, normed);
  return branch_dropout(tape, branch, context, ".attention");
}

Value TransformerBlock::mlp_branch(Tape& tape, Residual& stream,
                                   const ForwardContext& context) const {
  const Value branch = mlp_.forward(tape, mlp_norm_.forward(tape, stream), context);
  return branch_dropout(tape, branch, context, ".mlp");
}

Residual TransformerBlock::extend(Tape& tape, Residual stream, const ForwardContext& context,
                                  LayerCache& cache, std::int64_t position) const {
  stream.branch =
      attention_.extend(tape, attention_norm_.forward(tape, stream), context, cache, position);
  stream.branch = mlp_.forward(tape, mlp_norm_.forward(tape, stream), context);
  return stream;
}

Value TransformerBlock::branch_dropout(Tape& tape, const Value& x, const ForwardContext& context,
                                       const char* branch) const {
  if (dropout_ == 0.0f) return x;
  return dropout(tape, x,
                 row_dropout(dropout_, context, name_ + branch + ".branch_dropout",
                             x.tensor().shape().width()));
}

}  // namespace train
