#include "libtrain/model/gpt.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace train {
namespace {

constexpr float embedding_deviation = 0.02f;

Layer& add_embedding(ParameterSet& parameters, const GptConfig& config) {
  Layer& layer = parameters.add_layer({"token_embedding", LayerKind::embedding});
  layer.weight = &parameters.add("token_embedding.weight", {config.vocabulary, config.width},
                                 Initializer::normal(embedding_deviation));
  layer.bias =
      parameters.add_if(config.positions == Positions::learned, "position_embedding.weight",
                        {config.context, config.width}, Initializer::normal(embedding_deviation));
  return layer;
}

Layer& add_head(ParameterSet& parameters, const GptConfig& config, const Layer& embedding) {
  Layer& layer = parameters.add_layer({"head", LayerKind::head});
  layer.weight = config.tied_head
                     ? embedding.weight
                     : &parameters.add("head.weight", {config.vocabulary, config.width},
                                       Initializer::normal(embedding_deviation));
  return layer;
}

std::string block_name(std::int64_t index) {
  return fmt::format("blocks.{}", index);
}

std::deque<TransformerBlock> make_blocks(ParameterSet& parameters, const GptConfig& config) {
  std::deque<TransformerBlock> blocks;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    blocks.emplace_back(parameters, block_name(i), config);
  }
  return blocks;
}

GptConfig validated(GptConfig config) {
  config.validate();
  return config;
}

double sum_of(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0);
}

// To the mean over the tokens of the batch, or of the step that it is part of.
float scale_of(const Batch& batch) {
  const std::int64_t tokens =
      batch.tokens_in_step > 0 ? batch.tokens_in_step : batch.sequences * batch.context;
  return tokens > 0 ? 1.0f / static_cast<float>(tokens) : 0.0f;
}

}  // namespace

double Loss::value() const {
  if (rows_) value_ = sum_of(std::exchange(rows_, nullptr)()) * scale_;
  return value_;
}

void Loss::backward() {
  invariant(tape_ != nullptr, "a loss goes backward once");
  tape_->backward();
  tape_.reset();
}

Gpt::Gpt(GptConfig config, Device& device, Options options)
    : config_(validated(config)),
      options_(options),
      device_(device),
      execution_(std::make_shared<Execution>()),
      embedding_(add_embedding(parameters_, config_)),
      blocks_(make_blocks(parameters_, config_)),
      final_norm_(parameters_, "final_norm", config_),
      head_(add_head(parameters_, config_, embedding_)) {
  for (const auto& parameter : parameters()) {
    parameter->initialize(device_.memory(MemoryUse::parameters), options_.type, options_.seed,
                          device_.host_threads());
  }
}

void Gpt::set_execution(std::shared_ptr<const Execution> execution) {
  execution_ = std::move(execution);
  whole_rows_ = execution_->with_whole_rows();
}

std::vector<ModelUnit> Gpt::units() const {
  std::vector<ModelUnit> units;
  // A lookup's gradient does not need the table.
  units.push_back({"embedding", {embedding_.weight}, false});
  if (embedding_.bias != nullptr) units[0].parameters.push_back(embedding_.bias);
  for (std::int64_t i = 0; i < config_.layers; ++i) {
    units.push_back({block_name(i), parameters_.with_prefix(block_name(i) + ".")});
  }
  units.push_back({"final_norm", parameters_.with_prefix("final_norm.")});
  // The head's backward pass happens in its forward pass.
  units.push_back({"head", {head_.weight}, false});
  return units;
}

template <typename Forward>
auto Gpt::in_unit(Tape& tape, std::size_t unit, Forward forward) const {
  for (UnitObserver* observer : observers_) observer->before_forward(unit, tape.recording());
  tape.record([this, unit] {
    for (UnitObserver* observer : observers_) observer->after_backward(unit);
  });
  auto result = forward();
  tape.record([this, unit] {
    for (UnitObserver* observer : observers_) observer->before_backward(unit);
  });
  for (UnitObserver* observer : observers_) observer->after_forward(unit);
  return result;
}

Loss Gpt::loss(const Batch& batch) {
  invariant(std::ranges::none_of(parameters(), [](const auto& one) { return one->in_use(); }),
            "a loss goes backward, or is gone, before the model's next one");
  auto tape = std::make_unique<Tape>(device_, Tape::Mode::record);
  tape->on_gradient_ready(ready_hook_);
  const float scale = scale_of(batch);
  RowLosses rows = head_loss(*tape, batch, scale);
  return {std::move(rows), scale, std::move(tape)};
}

double Gpt::evaluate(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  return sum_of(head_loss(tape, batch, 1.0f)()) * scale_of(batch);
}

std::vector<double> Gpt::token_losses(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  return execution_->all_losses(head_loss(tape, batch, 1.0f)(), batch.sequences * batch.context);
}

RowLosses Gpt::head_loss(Tape& tape, const Batch& batch, float scale) {
  const Value x = hidden(tape, batch);
  check_tokens(batch.targets, "target");
  return in_unit(tape, head_unit(),
                 [&] { return execution_->loss(tape, head_, x, batch.targets, scale); });
}

Tensor Gpt::logits(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  return head_logits(*execution_, tape, hidden(tape, batch), batch.sequences * batch.context);
}

Tensor Gpt::extend(std::span<const std::int32_t> tokens, KeyValueCache& cache) {
  const Execution& execution = generation_execution();
  const std::int64_t sequences = cache.sequences();
  const auto count = static_cast<std::int64_t>(tokens.size()) / sequences;
  invariant(count * sequences == static_cast<std::int64_t>(tokens.size()) && count > 0,
            "every sequence gets the same count of new tokens");
  invariant(cache.length() + count <= cache.capacity(), "the cache has room for the new tokens");
  check_tokens(tokens, "input");
  Tape tape(device_, Tape::Mode::inference);
  const ForwardContext context = forward_context(execution, sequences, count);
  Residual stream;
  stream.x = in_unit(tape, 0, [&] {
    return execution.embedding(tape, embedding_, tokens, {count, cache.length()});
  });
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    stream = in_unit(tape, i + 1, [&] {
      return blocks_[i].extend(tape, std::move(stream), context, cache.layer(i), cache.length());
    });
  }
  cache.advance(count);
  Value x = stream.sum(tape);
  const Tensor last = tape.empty({sequences, config_.width}, x.tensor().type());
  for (std::int64_t i = 0; i < sequences; ++i) {
    device_.ops().convert(x.tensor().rows((i + 1) * count - 1, (i + 1) * count),
                          last.rows(i, i + 1));
  }
  x = in_unit(tape, norm_unit(), [&] { return final_norm_.forward(tape, Value(last)); });
  return head_logits(execution, tape, x, sequences);
}

KeyValueCache Gpt::new_cache(std::int64_t sequences, std::int64_t capacity) const {
  const std::int64_t kv_heads = local_heads(generation_execution()).kv_heads;
  return {config_, kv_heads, device_.memory(), options_.type, sequences, capacity};
}

Value Gpt::hidden(Tape& tape, const Batch& batch) const {
  invariant(batch.context <= config_.context, "a batch's context fits the model's");
  invariant(static_cast<std::int64_t>(batch.inputs.size()) == batch.sequences * batch.context,
            "a batch holds sequences x context tokens");
  check_tokens(batch.inputs, "input");
  ForwardContext context = forward_context(*execution_, batch.sequences, batch.context);
  context.step = static_cast<std::uint64_t>(batch.step);
  context.first_sequence = batch.first_sequence;
  Residual stream;
  stream.x = in_unit(tape, 0, [&] {
    const Value embedded = execution_->embedding(tape, embedding_, batch.inputs, {batch.context});
    if (config_.dropout == 0.0f) return embedded;
    return dropout(tape, embedded,
                   row_dropout(config_.dropout, context, "embedding_dropout", config_.width));
  });
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    stream =
        in_unit(tape, i + 1, [&] { return blocks_[i].forward(tape, std::move(stream), context); });
  }
  return in_unit(tape, norm_unit(), [&] { return final_norm_.forward(tape, stream); });
}

Tensor Gpt::head_logits(const Execution& execution, Tape& tape, const Value& x,
                        std::int64_t rows) const {
  return in_unit(tape, head_unit(), [&] { return execution.logits(tape, head_, x, rows); });
}

std::string Gpt::first_output_not_finite(const Batch& batch) {
  Tape tape(device_, Tape::Mode::inference);
  std::string name;
  tape.on_output([&](const Parameter& parameter, const Tensor& output) {
    if (name.empty() && !device_.ops().all_finite(output)) name = parameter.name();
  });
  const Tensor logits =
      head_logits(*execution_, tape, hidden(tape, batch), batch.sequences * batch.context);
  if (name.empty() && !device_.ops().all_finite(logits)) name = head_.weight->name();
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

const Execution& Gpt::generation_execution() const {
  return whole_rows_ ? *whole_rows_ : *execution_;
}

HeadRange Gpt::local_heads(const Execution& execution) const {
  return execution.heads({0, config_.heads, 0, config_.kv_heads});
}

ForwardContext Gpt::forward_context(const Execution& execution, std::int64_t sequences,
                                    std::int64_t context) const {
  const HeadRange heads = local_heads(execution);
  ForwardContext place;
  place.execution = &execution;
  place.attention = {sequences,          context,      heads.heads, heads.kv_heads,
                     config_.head_width, config_.heads};
  place.first_head = heads.first_head;
  place.first_row = execution.first_row(sequences * context);
  place.seed = options_.seed;
  place.recompute = options_.recompute;
  return place;
}

}  // namespace train
