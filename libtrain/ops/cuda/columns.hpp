#pragma once

#include <cstdint>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/cuda/stream.hpp"

namespace train::cuda {

/// Adds up `groups` rows of partial sums, `stride` apart, into one or two gradients of `width`
/// elements, whose columns lie one after the other in each row. An undefined one is passed over.
/// The order of additions depends on `groups` alone.
void sum_groups(const float* sums, std::int64_t groups, std::int64_t stride, std::int64_t width,
                const Gradient& first, const Gradient& second, const Stream& stream);

}  // namespace train::cuda
