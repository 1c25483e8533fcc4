#pragma once

#include <bit>
#include <cstdint>

#include "collectives/error.hpp"
#include "collectives/types.hpp"

namespace train::cpu {

[[gnu::always_inline]] inline float to_float(float x) {
  return x;
}
[[gnu::always_inline]] inline float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

/// Rounds to nearest even. Without branches, so that loops over it vectorise.
template <typename T>
[[gnu::always_inline]] inline T from_float(float x);
template <>
[[gnu::always_inline]] inline float from_float<float>(float x) {
  return x;
}
template <>
[[gnu::always_inline]] inline BFloat16 from_float<BFloat16>(float x) {
  const auto word = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const std::uint32_t quiet = (word >> 16) | 0x40u;
  BFloat16 result;
  result.bits = static_cast<std::uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  return result;
}

/// Calls body(T{}) with the C++ type of `type`.
template <typename Body>
decltype(auto) with_type(DataType type, Body&& body) {
  switch (type) {
    case DataType::f32:
      return body(float{});
    case DataType::bf16:
      return body(BFloat16{});
    default:
      unreachable("the CPU device computes in f32 and bf16");
  }
}

}  // namespace train::cpu
