#pragma once

#include <cstddef>
#include <span>

#include "collectives/types.hpp"

namespace train {

/// Values of one type as values of another, on the host: f32, bf16 and f64 into each other.
/// Throws Error for other types that differ.
void convert_values(ConstBuffer from, Buffer to);

/// IEEE 754 halves (5 bits of exponent, 10 of mantissa), little-endian, as f32 without loss, then
/// as the values' type.
void convert_halves(std::span<const std::byte> halves, Buffer to);

}  // namespace train
