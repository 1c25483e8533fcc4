#pragma once

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/cuda/stream.hpp"

namespace train::cuda {

/// What follows a product that cuBLASLt could not finish: y = act(c + bias), pre = c + bias.
/// Rows of `c` (f32) lie c_stride apart, and those of y may have gaps. `c` may be y or pre
/// themselves; null stands for zeros. bias and pre may be undefined. 2 to 3 passes.
void linear_finish(const float* c, std::int64_t c_stride, const Tensor& bias, Activation activation,
                   const Tensor& pre, const Tensor& y, int multiprocessors, const Stream& stream);

/// target (+)= c, rounded once.
void write_gradient(const float* c, const Gradient& target, int multiprocessors,
                    const Stream& stream);

}  // namespace train::cuda
