#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "libtrain/autograd/tape.hpp"

/// Differentiable functions: each runs the op's forward on the tape's device and records its
/// backward. Shapes are those of libtrain/ops/ops.hpp. A `nullptr` parameter is one that the model
/// does not have.
///
/// A value may be read any number of times: its gradient is the sum of what its readers pass on. A
/// value that nobody reads passes nothing on.
namespace train {

/// What norms, softmax and losses keep beside elements of `type`: f32, or f64 for f64.
inline DataType statistics_type(DataType type) {
  return type == DataType::f64 ? DataType::f64 : DataType::f32;
}

Value embedding(Tape& tape, std::span<const std::int32_t> tokens, Parameter& table,
                Parameter* positions, const RowPositions& places);
Value linear(Tape& tape, const Value& x, Parameter& weight, Parameter* bias,
             Activation activation = Activation::none);
Value layer_norm(Tape& tape, const Value& x, Parameter& weight, Parameter* bias, float eps);
Value rms_norm(Tape& tape, const Value& x, Parameter& weight, float eps);
/// A residual stream x + branch, and the norm of it.
struct NormedSum {
  Value sum;
  Value normed;
};
NormedSum add_layer_norm(Tape& tape, const Value& x, const Value& branch, Parameter& weight,
                         Parameter* bias, float eps);
NormedSum add_rms_norm(Tape& tape, const Value& x, const Value& branch, Parameter& weight,
                       float eps);
Value swiglu(Tape& tape, const Value& gate_up);
/// Turns the query and key heads in place: the argument's elements are the result's, and nobody may
/// have read them before.
Value rotary(Tape& tape, const Value& qkv, const AttentionShape& shape,
             const RotaryFrequencies& frequencies);
Value attention(Tape& tape, const Value& qkv, const AttentionShape& shape, const Dropout& dropout);
Value dropout(Tape& tape, const Value& x, const Dropout& dropout);
Value add(Tape& tape, const Value& a, const Value& b);

/// Losses of rows, in nats, which a device may still be computing: whoever calls waits for them.
using RowLosses = std::function<std::vector<double>()>;

/// Cross-entropy of softmax(x · wᵀ) against `targets`, row by row; what goes backward is the rows'
/// sum times `scale`. The logits [M, V] never exist as a whole: blocks of rows go through head,
/// softmax and, when recording, straight into the gradients of x and w, which saves a second
/// product with w. So this is an end of the tape: the backward pass starts here with a gradient
/// of 1. Where a tape has several, their sum is what goes backward.
RowLosses linear_cross_entropy(Tape& tape, const Value& x, Parameter& weight,
                               std::span<const std::int32_t> targets, float scale);

}  // namespace train
