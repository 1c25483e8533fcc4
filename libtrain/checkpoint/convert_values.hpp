#pragma once

#include "collectives/types.hpp"

namespace train {

/// Values of one type as values of another, on the host: f32, bf16 and f64 into each other.
/// Throws Error for other types that differ.
void convert_values(ConstBuffer from, Buffer to);

}  // namespace train
