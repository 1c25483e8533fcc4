#include "libtrain/model/gpt.hpp"

#include <fmt/format.h>

namespace train {
namespace {

constexpr float embedding_deviation = 0.02f;

std::vector<TransformerBlock> make_blocks(ParameterSet& parameters, const GptConfig& config) {
  std::vector<TransformerBlock> blocks;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    blocks.emplace_back(parameters, fmt::format("blocks.{}", i), config);
  }
  return blocks;
}

GptConfig validated(GptConfig config) {
  config.validate();
  return config;
}

}  // namespace

void Loss::backward() {
  invariant(tape_ != nullptr, "a loss goes backward once");
  tape_->backward();
  tape_.reset();
}

Gpt::Gpt(GptConfig config, Device& device, Options options)
    : config_(validated(config)),
      options_(options),
      device_(device),
      token_embedding_(parameters_.add("token_embedding.weight",
                                       {config_.vocabulary, config_.width},
                                       Initializer::normal(embedding_deviation))),
      position_embedding_(parameters_.add_if(
          config_.positions == Positions::learned, "position_embedding.weight",
          {config_.context, config_.width}, Initializer::normal(embedding_deviation))),
      blocks_(make_blocks(parameters_, config_)),
      final_norm_(parameters_, "final_norm", config_),
      head_(parameters_.add_if(!config_.tied_head, "head.weight",
                               {config_.vocabulary, config_.width},
                               Initializer::normal(embedding_deviation))) {
  for (const auto& parameter : parameters()) {
    parameter->initialize(device_.memory(MemoryUse::parameters), options_.type, options_.seed);
  }
}

Loss Gpt::loss(const Batch& batch) {
  auto tape = std::make_unique<Tape>(device_, Tape::Mode::record);
  tape->on_gradient_ready(ready_hook_);
  const double value = head_loss(*tape, batch);
  return {value, std::move(tape)};
}

double Gpt::evaluate(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  return head_loss(tape, batch);
}

double Gpt::head_loss(Tape& tape, const Batch& batch) {
  const Value x = hidden(tape, batch);
  check_tokens(batch.targets, "target");
  const std::int64_t tokens =
      batch.tokens_in_step > 0 ? batch.tokens_in_step : batch.sequences * batch.context;
  return linear_cross_entropy(tape, x, head_weight(), batch.targets,
                              1.0f / static_cast<float>(tokens));
}

Tensor Gpt::logits(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  return head_logits(tape, hidden(tape, batch));
}

Tensor Gpt::extend(std::span<const std::int32_t> tokens, KeyValueCache& cache) {
  const std::int64_t sequences = cache.sequences();
  const auto count = static_cast<std::int64_t>(tokens.size()) / sequences;
  invariant(count * sequences == static_cast<std::int64_t>(tokens.size()) && count > 0,
            "every sequence gets the same count of new tokens");
  invariant(cache.length() + count <= cache.capacity(), "the cache has room for the new tokens");
  check_tokens(tokens, "input");
  Tape tape(device_, Tape::Mode::inference);
  ForwardContext context;
  context.attention = attention_shape(sequences, count);
  Value x = embedding(tape, tokens, token_embedding_, position_embedding_, count, cache.length());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = blocks_[i].extend(tape, x, context, cache.layer(i), cache.length());
  }
  cache.advance(count);
  const Tensor last = tape.empty({sequences, config_.width}, x.tensor().type());
  for (std::int64_t i = 0; i < sequences; ++i) {
    device_.ops().convert(x.tensor().rows((i + 1) * count - 1, (i + 1) * count),
                          last.rows(i, i + 1));
  }
  return head_logits(tape, final_norm_.forward(tape, Value(last)));
}

Value Gpt::hidden(Tape& tape, const Batch& batch) const {
  invariant(batch.context <= config_.context, "a batch's context fits the model's");
  invariant(static_cast<std::int64_t>(batch.inputs.size()) == batch.sequences * batch.context,
            "a batch holds sequences x context tokens");
  check_tokens(batch.inputs, "input");
  ForwardContext context;
  context.attention = attention_shape(batch.sequences, batch.context);
  context.seed = options_.seed;
  context.step = static_cast<std::uint64_t>(batch.step);
  context.first_sequence = batch.first_sequence;
  Value x = embedding(tape, batch.inputs, token_embedding_, position_embedding_, batch.context);
  if (config_.dropout > 0.0f) {
    x = dropout(tape, x, row_dropout(config_.dropout, context, "embedding_dropout", config_.width));
  }
  for (const TransformerBlock& block : blocks_) x = block.forward(tape, x, context);
  return final_norm_.forward(tape, x);
}

Tensor Gpt::head_logits(Tape& tape, const Value& x) const {
  const DataType type = options_.type == DataType::f64 ? DataType::f64 : DataType::f32;
  Tensor logits = tape.empty({x.tensor().shape().rows(), config_.vocabulary}, type);
  device_.ops().linear(x.tensor(), head_weight().value(), {}, Activation::none, {}, logits);
  return logits;
}

std::string Gpt::first_output_not_finite(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  std::string name;
  tape.on_output([&](const Parameter& parameter, const Tensor& output) {
    if (name.empty() && !device_.ops().all_finite(output)) name = parameter.name();
  });
  const Tensor logits = head_logits(tape, hidden(tape, batch));
  if (name.empty() && !device_.ops().all_finite(logits)) name = head_weight().name();
  return name;
}

void Gpt::check_tokens(std::span<const std::int32_t> tokens, const char* what) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool padding = tokens[i] == -1 && what[0] == 't';
    if ((tokens[i] < 0 || tokens[i] >= config_.vocabulary) && !padding) [[unlikely]] {
      throw Error(
          fmt::format("{} token {} of a batch is {}; the model's vocabulary is {}: use the "
                      "tokenizer that the model was made for",
                      what, i, tokens[i], config_.vocabulary));
    }
  }
}

AttentionShape Gpt::attention_shape(std::int64_t batch, std::int64_t context) const {
  return {batch, context, config_.heads, config_.kv_heads, config_.head_width};
}

}  // namespace train
