#include "libtrain/autograd/functions.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace train {
namespace {

const Tensor& value_of(const Parameter* parameter) {
  static const Tensor none;
  return parameter == nullptr ? none : parameter->value();
}

Gradient target_of(Parameter* parameter) {
  return parameter == nullptr ? Gradient{} : parameter->gradient_target();
}

void finish(Tape& tape, Parameter& first, Parameter* second) {
  tape.finish(first);
  if (second != nullptr) tape.finish(*second);
}

template <typename T>
std::vector<double> on_host_as(const Tensor& x) {
  std::vector<T> host(static_cast<std::size_t>(x.elements()));
  x.copy_to_host(std::as_writable_bytes(std::span(host)));
  return {host.begin(), host.end()};
}

std::vector<double> on_host(const Tensor& x) {
  return x.type() == DataType::f64 ? on_host_as<double>(x) : on_host_as<float>(x);
}

Value empty_like(Tape& tape, const Value& x) {
  return Value(tape.empty(x.tensor().shape(), x.tensor().type()));
}

/// `count` tensors of a number per row of x.
template <std::size_t count>
std::array<Tensor, count> row_statistics(Tape& tape, const Value& x) {
  std::array<Tensor, count> statistics;
  for (Tensor& one : statistics) {
    one = tape.empty({x.tensor().shape().rows()}, statistics_type(x.tensor().type()));
  }
  return statistics;
}

void record_layer_norm(Tape& tape, const Value& x, Parameter& weight, Parameter* bias,
                       const Value& y, const Tensor& mean, const Tensor& rstd) {
  tape.record(y, {&weight, bias},
              [&tape, &weight, bias, mean, rstd, x = x.tensor(), dx = x.gradient()](Tensor& dy) {
                tape.ops().layer_norm_backward(dy, x, weight.value(), mean, rstd,
                                               tape.gradient_target(x, *dx),
                                               weight.gradient_target(), target_of(bias));
                finish(tape, weight, bias);
              });
}

void record_rms_norm(Tape& tape, const Value& x, Parameter& weight, const Value& y,
                     const Tensor& rstd) {
  tape.record(y, {&weight}, [&tape, &weight, rstd, x = x.tensor(), dx = x.gradient()](Tensor& dy) {
    tape.ops().rms_norm_backward(dy, x, weight.value(), rstd, tape.gradient_target(x, *dx),
                                 weight.gradient_target());
    tape.finish(weight);
  });
}

// Both summands have the sum's gradient and share its memory; whoever writes to shared memory
// copies first. In a residual block the branch has let go by then, and nothing is copied.
void record_add(Tape& tape, const Value& a, const Value& b, const Value& y) {
  tape.record(y, {}, [&tape, da = a.gradient(), db = b.gradient()](Tensor& dy) {
    for (const auto& gradient : {da, db}) tape.add_gradient(dy, *gradient);
    dy.reset();
  });
}

}  // namespace

Value embedding(Tape& tape, std::span<const std::int32_t> tokens, Parameter& table,
                Parameter* positions, const RowPositions& places) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  Value y(tape.empty({rows, table.value().shape()[1]}, table.value().type()));
  tape.ops().embedding(tokens, table.value(), value_of(positions), places, y.tensor());
  tape.inspect(table, y);
  if (!tape.recording()) return y;
  tape.record(y, {&table, positions},
              [&tape, &table, positions, places,
               kept = std::vector<std::int32_t>(tokens.begin(), tokens.end())](Tensor& dy) {
                tape.ops().embedding_backward(kept, dy, places, table.gradient_target(),
                                              target_of(positions));
                finish(tape, table, positions);
              });
  return y;
}

Value linear(Tape& tape, const Value& x, Parameter& weight, Parameter* bias,
             Activation activation) {
  const std::int64_t rows = x.tensor().shape().rows();
  const Shape shape{rows, weight.value().shape()[0]};
  const auto argument = tape.argument_of(activation, shape, x.tensor().type());
  Value y(tape.empty(shape, x.tensor().type()), argument);
  tape.ops().linear(x.tensor(), weight.value(), value_of(bias), activation,
                    argument ? argument->value : Tensor(), y.tensor());
  tape.inspect(weight, y);
  tape.record(y, {&weight, bias}, [&tape, &weight, bias, argument, x](Tensor& dy) {
    if (argument) tape.pass_activation(*argument, dy);
    tape.ops().linear_grad_weight(dy, x.tensor(), weight.gradient_target(), target_of(bias));
    finish(tape, weight, bias);
    tape.write_linear_grad_input(dy, weight.value(), x);
  });
  return y;
}

Value layer_norm(Tape& tape, const Value& x, Parameter& weight, Parameter* bias, float eps) {
  Value y = empty_like(tape, x);
  const auto [mean, rstd] = row_statistics<2>(tape, x);
  tape.ops().layer_norm(x.tensor(), weight.value(), value_of(bias), eps, y.tensor(), mean, rstd);
  tape.inspect(weight, y);
  record_layer_norm(tape, x, weight, bias, y, mean, rstd);
  return y;
}

Value rms_norm(Tape& tape, const Value& x, Parameter& weight, float eps) {
  Value y = empty_like(tape, x);
  const auto [rstd] = row_statistics<1>(tape, x);
  tape.ops().rms_norm(x.tensor(), weight.value(), eps, y.tensor(), rstd);
  tape.inspect(weight, y);
  record_rms_norm(tape, x, weight, y, rstd);
  return y;
}

NormedSum add_layer_norm(Tape& tape, const Value& x, const Value& branch, Parameter& weight,
                         Parameter* bias, float eps) {
  NormedSum result{empty_like(tape, x), empty_like(tape, x)};
  const auto& [sum, y] = result;
  const auto [mean, rstd] = row_statistics<2>(tape, x);
  tape.ops().add_layer_norm(x.tensor(), branch.tensor(), weight.value(), value_of(bias), eps,
                            sum.tensor(), y.tensor(), mean, rstd);
  tape.inspect(weight, y);
  record_add(tape, x, branch, sum);
  record_layer_norm(tape, sum, weight, bias, y, mean, rstd);
  return result;
}

NormedSum add_rms_norm(Tape& tape, const Value& x, const Value& branch, Parameter& weight,
                       float eps) {
  NormedSum result{empty_like(tape, x), empty_like(tape, x)};
  const auto& [sum, y] = result;
  const auto [rstd] = row_statistics<1>(tape, x);
  tape.ops().add_rms_norm(x.tensor(), branch.tensor(), weight.value(), eps, sum.tensor(),
                          y.tensor(), rstd);
  tape.inspect(weight, y);
  record_add(tape, x, branch, sum);
  record_rms_norm(tape, sum, weight, y, rstd);
  return result;
}

Value swiglu(Tape& tape, const Value& gate_up) {
  const Shape& shape = gate_up.tensor().shape();
  Value y(tape.empty({shape.rows(), shape.width() / 2}, gate_up.tensor().type()));
  tape.ops().swiglu(gate_up.tensor(), y.tensor());
  tape.record(y, {},
              [&tape, gate_up = gate_up.tensor(), dgate_up = gate_up.gradient()](Tensor& dy) {
                const Tensor own = tape.empty(gate_up.shape(), gate_up.type());
                tape.ops().swiglu_backward(gate_up, dy, own);
                tape.add_gradient(own, *dgate_up);
              });
  return y;
}

Value rotary(Tape& tape, const Value& qkv, const AttentionShape& shape,
             const RotaryFrequencies& frequencies) {
  tape.ops().rotary(qkv.tensor(), shape, 0, frequencies, false);
  tape.record(qkv, {}, [&tape, shape, frequencies](Tensor& gradient) {
    tape.unshare(gradient);
    tape.ops().rotary(gradient, shape, 0, frequencies, true);
  });
  return qkv;
}

Value attention(Tape& tape, const Value& qkv, const AttentionShape& shape, const Dropout& dropout) {
  const DataType type = qkv.tensor().type();
  const Dropout active = tape.training() ? dropout : Dropout{};
  Value out(tape.empty({shape.batch * shape.context, shape.out_width()}, type));
  const Tensor lse = tape.empty({shape.batch, shape.heads, shape.context}, statistics_type(type));
  tape.ops().attention(qkv.tensor(), shape, active, out.tensor(), lse);
  tape.record(out, {},
              [&tape, shape, dropout = active, lse, qkv = qkv.tensor(), dqkv = qkv.gradient(),
               out = out.tensor()](Tensor& dout) {
                const Tensor own = tape.empty(qkv.shape(), qkv.type());
                tape.ops().attention_backward(qkv, shape, dropout, out, lse, dout, own);
                tape.add_gradient(own, *dqkv);
              });
  return out;
}

Value dropout(Tape& tape, const Value& x, const Dropout& dropout) {
  if (!dropout.active() || !tape.training()) return x;
  Value y(tape.empty(x.tensor().shape(), x.tensor().type()));
  tape.ops().dropout(x.tensor(), dropout, y.tensor());
  tape.record(y, {}, [&tape, dropout, dx = x.gradient()](Tensor& dy) {
    const Tensor own = tape.writable(dy);
    tape.ops().dropout(dy, dropout, own);
    tape.add_gradient(own, *dx);
  });
  return y;
}

Value add(Tape& tape, const Value& a, const Value& b) {
  Value y = empty_like(tape, a);
  tape.ops().add(a.tensor(), b.tensor(), y.tensor());
  record_add(tape, a, b, y);
  return y;
}

RowLosses linear_cross_entropy(Tape& tape, const Value& x, Parameter& weight,
                               std::span<const std::int32_t> targets, float scale) {
  const Tensor& input = x.tensor();
  const std::int64_t rows = input.shape().rows();
  const std::int64_t vocabulary = weight.value().shape()[0];
  const std::int64_t rows_per_block = tape.ops().loss_rows(vocabulary);
  const DataType wide = statistics_type(input.type());
  invariant(rows == static_cast<std::int64_t>(targets.size()), "one target per row");
  Gradient dx;
  if (tape.recording()) dx = tape.gradient_target(input, *x.gradient());

  const Tensor losses = tape.empty({rows}, wide);
  for (std::int64_t begin = 0; begin < rows; begin += rows_per_block) {
    const std::int64_t end = std::min(rows, begin + rows_per_block);
    const Tensor block = input.rows(begin, end);
    const Tensor logits = tape.padded(end - begin, vocabulary, wide);
    tape.ops().linear(block, weight.value(), {}, Activation::none, {}, logits);
    Tensor dlogits;
    if (tape.recording()) {
      dlogits = wide == input.type() ? logits : tape.padded(end - begin, vocabulary, input.type());
    }
    const auto block_targets =
        targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    const Tensor block_losses = losses.slice(begin, {end - begin});
    tape.ops().cross_entropy(logits, block_targets, scale, block_losses, dlogits);
    if (!tape.recording()) continue;
    tape.ops().linear_grad_weight(dlogits, block, weight.gradient_target(), {});
    tape.ops().linear_grad_input(dlogits, weight.value(), {dx.tensor.rows(begin, end), dx.write});
  }
  tape.use(weight);
  tape.record(
      [&tape, &weight, rows] { rows > 0 ? tape.finish(weight) : tape.add_nothing(weight); });
  return [losses] { return on_host(losses); };
}

}  // namespace train
