#pragma once

#include <functional>

#include "libtrain/autograd/tape.hpp"

namespace train {

/// Runs `part` on x and keeps only x; the backward pass runs it again first (Chen et al.: "Training
/// deep nets with sublinear memory cost", 2016). Costs one more forward pass of the part, its
/// communication included. `part` must compute the same each time, and what it captures must live
/// until the backward pass; no parameter may be used inside and outside of it.
Value recompute(Tape& tape, const Value& x, std::function<Value(Tape& tape, const Value& x)> part);

}  // namespace train
