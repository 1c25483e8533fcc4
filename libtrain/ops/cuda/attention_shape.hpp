#pragma once

#include <initializer_list>

#include "libtrain/ops/ops.hpp"

namespace train::cuda {

/// Throws Error for heads that the kernels have no registers for.
void check_attention(const AttentionShape& shape);

/// Whether every head's rows in these tensors begin at multiples of 16 bytes and fill them.
bool chunks_fit(const AttentionShape& shape, std::initializer_list<const Tensor*> tensors);

}  // namespace train::cuda
