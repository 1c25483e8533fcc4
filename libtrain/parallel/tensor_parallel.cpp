#include "libtrain/parallel/tensor_parallel.hpp"

#include <algorithm>

namespace train {
namespace {

Tensor value_of(const Parameter* parameter) {
  return parameter == nullptr ? Tensor() : parameter->value();
}

Gradient target_of(Parameter* parameter) {
  return parameter == nullptr ? Gradient{} : parameter->gradient_target();
}

void finish(Tape& tape, const Layer& layer) {
  tape.finish(*layer.weight);
  if (layer.bias != nullptr) tape.finish(*layer.bias);
}

bool splits_heads(Gpt& model) {
  return std::ranges::any_of(model.layers(), [](const Layer& layer) {
    return layer.features == Features::heads && layer.split == Split::column;
  });
}

}  // namespace

TensorParallel::TensorParallel(Gpt& model, const ModelSplit& split, Communicator& ranks,
                               bool split_rows)
    : split_(split),
      group_(ranks, split_rows),
      heads_are_split_(splits_heads(model)),
      head_width_(model.config().head_width) {
  if (heads_are_split_ && split_.shares_kv_heads()) {
    const HeadRange& own = split_.heads(ranks.rank());
    const int color = own.kv_heads > 0 ? static_cast<int>(own.first_kv_head) : -1;
    shared_heads_ = ranks.split(color, ranks.rank(), "shared heads");
  }
  for (const Layer& layer : model.layers()) {
    if (layer.kind == LayerKind::norm && split_rows) sum_norm_gradients(layer);
    if (layer.features == Features::heads && layer.split == Split::column) sum_shared_heads(layer);
  }
}

TensorParallel::TensorParallel(const TensorParallel& from, WholeRows)
    : split_(from.split_),
      group_(from.group_.ranks(), /*split_rows=*/false),
      heads_are_split_(from.heads_are_split_),
      head_width_(from.head_width_) {}

std::shared_ptr<const Execution> TensorParallel::with_whole_rows() const {
  if (!splits_rows()) return nullptr;
  return std::shared_ptr<const Execution>(new TensorParallel(*this, WholeRows{}));
}

void TensorParallel::sum_norm_gradients(const Layer& layer) const {
  for (Parameter* parameter : {layer.weight, layer.bias}) {
    if (parameter == nullptr) continue;
    parameter->set_gradient_sum([this](const Tensor& gradient) {
      return group_.ranks().all_reduce(gradient.buffer(), gradient.buffer(), ReduceOp::sum);
    });
  }
}

// The rows of key and value heads lie behind those of the query heads.
void TensorParallel::sum_shared_heads(const Layer& layer) const {
  if (shared_heads_ == nullptr || shared_heads_->size() == 1) return;
  const std::int64_t first_row = split_.heads(group_.ranks().rank()).heads * head_width_;
  for (Parameter* parameter : {layer.weight, layer.bias}) {
    if (parameter == nullptr) continue;
    parameter->set_gradient_sum([this, first_row](const Tensor& gradient) {
      const Shape& shape = gradient.shape();
      const std::int64_t begin = first_row * (shape.rank() == 1 ? 1 : shape[1]);
      const Tensor shared = gradient.slice(begin, {gradient.elements() - begin});
      return shared_heads_->all_reduce(shared.buffer(), shared.buffer(), ReduceOp::sum);
    });
  }
}

HeadRange TensorParallel::heads(const HeadRange& all) const {
  return heads_are_split_ ? split_.heads(group_.ranks().rank()) : all;
}

// Indices into this rank's part of the table, -1 for what other ranks hold.
std::vector<std::int32_t> TensorParallel::own_tokens(const Layer& layer,
                                                     std::span<const std::int32_t> tokens) const {
  std::vector<std::int32_t> own(tokens.begin(), tokens.end());
  if (layer.split == Split::replicated) return own;
  const ModelSplit::Range& range = split_.tokens(group_.ranks().rank());
  for (std::int32_t& token : own) {
    const std::int64_t local = token - range.begin;
    token = local >= 0 && local < range.count ? static_cast<std::int32_t>(local) : -1;
  }
  return own;
}

Value TensorParallel::embedding(Tape& tape, const Layer& layer,
                                std::span<const std::int32_t> tokens,
                                const RowPositions& places) const {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  const Tensor& table = layer.weight->value();
  const bool split = layer.split != Split::replicated;
  auto own = own_tokens(layer, tokens);
  const Tensor all = tape.empty({rows, table.shape()[1]}, table.type());
  // Positions are a summand of one rank.
  const Tensor positions = split && !group_.is_first() ? Tensor() : value_of(layer.bias);
  tape.ops().embedding(own, table, positions, places, all);
  TensorGroup::Pending sum;
  if (split) sum = group_.sum(tape, all);
  const Value y(split ? group_.wait(sum) : group_.keep_own(tape, all));
  tape.inspect(*layer.weight, y);
  tape.record(y, {layer.weight, layer.bias},
              [this, &tape, &layer, rows, places, own = std::move(own)](Tensor& dy) {
                auto gather = group_.gather(tape, dy, rows);
                const Tensor all_dy = group_.wait(gather);
                tape.ops().embedding_backward(own, all_dy, places, layer.weight->gradient_target(),
                                              target_of(layer.bias));
                finish(tape, layer);
              });
  return y;
}

Value TensorParallel::linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
                             Activation activation) const {
  if (layer.kind == LayerKind::reader) return reader(tape, layer, x, rows, activation);
  invariant(activation == Activation::none, "a writer has no activation");
  return writer(tape, layer, x, rows);
}

Value TensorParallel::reader(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
                             Activation activation) const {
  const DataType type = x.tensor().type();
  const Shape shape{rows, layer.weight->value().shape()[0]};
  const auto argument = tape.argument_of(activation, shape, type);
  const Value y(tape.empty(shape, type), argument);
  {
    auto gather = group_.gather(tape, x.tensor(), rows);
    tape.ops().linear(group_.wait(gather), layer.weight->value(), value_of(layer.bias), activation,
                      argument ? argument->value : Tensor(), y.tensor());
  }
  tape.inspect(*layer.weight, y);
  tape.record(y, {layer.weight, layer.bias},
              [this, &tape, &layer, rows, argument, x = x.tensor(), dx = x.gradient()](Tensor& dy) {
                if (argument) tape.pass_activation(*argument, dy);
                reader_backward(tape, layer, x, dy, rows, *dx);
              });
  return y;
}

// The input comes while dx is computed, dx goes while dw is computed.
void TensorParallel::reader_backward(Tape& tape, const Layer& layer, const Tensor& x,
                                     const Tensor& dy, std::int64_t rows, Tensor& dx) const {
  auto gather = group_.gather(tape, x, rows);
  const Tensor all_dx = tape.empty({rows, x.shape().width()}, x.type());
  tape.ops().linear_grad_input(dy, layer.weight->value(), {all_dx, Write::assign});
  const bool split = layer.split != Split::replicated;
  TensorGroup::Pending sum;
  if (split) sum = group_.sum(tape, all_dx);
  tape.ops().linear_grad_weight(dy, group_.wait(gather), layer.weight->gradient_target(),
                                target_of(layer.bias));
  finish(tape, layer);
  tape.add_gradient(split ? group_.wait(sum) : group_.keep_own(tape, all_dx), dx);
}

Value TensorParallel::writer(Tape& tape, const Layer& layer, const Value& x,
                             std::int64_t rows) const {
  const bool split = layer.split != Split::replicated;
  const Tensor all = tape.empty({rows, layer.weight->value().shape()[0]}, x.tensor().type());
  // The bias is a summand of one rank.
  const Tensor bias = split && !group_.is_first() ? Tensor() : value_of(layer.bias);
  tape.ops().linear(x.tensor(), layer.weight->value(), bias, Activation::none, {}, all);
  TensorGroup::Pending sum;
  if (split) sum = group_.sum(tape, all);
  const Value y(split ? group_.wait(sum) : group_.keep_own(tape, all));
  tape.inspect(*layer.weight, y);
  tape.record(y, {layer.weight, layer.bias}, [this, &tape, &layer, rows, x](Tensor& dy) {
    auto gather = group_.gather(tape, dy, rows);
    const Tensor all_dy = group_.wait(gather);
    // Every rank sees all rows here: the bias has its whole gradient everywhere.
    tape.ops().linear_grad_weight(all_dy, x.tensor(), layer.weight->gradient_target(),
                                  target_of(layer.bias));
    finish(tape, layer);
    tape.write_linear_grad_input(all_dy, layer.weight->value(), x);
  });
  return y;
}

}  // namespace train
