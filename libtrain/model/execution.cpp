#include "libtrain/model/execution.hpp"

namespace train {

Value Execution::embedding(Tape& tape, const Layer& layer, std::span<const std::int32_t> tokens,
                           const RowPositions& places) const {
  return train::embedding(tape, tokens, *layer.weight, layer.bias, places);
}

Value Execution::linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t,
                        Activation activation) const {
  return train::linear(tape, x, *layer.weight, layer.bias, activation);
}

RowLosses Execution::loss(Tape& tape, const Layer& layer, const Value& x,
                          std::span<const std::int32_t> targets, float scale) const {
  return linear_cross_entropy(tape, x, *layer.weight, targets, scale);
}

Tensor Execution::logits(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows) const {
  const Tensor& weight = layer.weight->value();
  Tensor logits = tape.empty({rows, weight.shape()[0]}, statistics_type(x.tensor().type()));
  tape.ops().linear(x.tensor(), weight, {}, Activation::none, {}, logits);
  return logits;
}

std::int64_t Execution::first_row(std::int64_t) const {
  return 0;
}

}  // namespace train
