#pragma once

#include <cstdint>

#include "libtrain/ops/dropout.hpp"

namespace train::cpu {

/// factors[i] = DropoutMask(dropout).factor(first + i) for `count` neighbours, many Philox blocks
/// at a time.
void dropout_factors(const Dropout& dropout, std::uint64_t first, std::int64_t count,
                     float* factors);

}  // namespace train::cpu
