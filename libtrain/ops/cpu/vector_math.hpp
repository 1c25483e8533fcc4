#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/ops.hpp"

namespace train::cpu {

namespace detail {
[[gnu::always_inline]] inline std::int32_t float_bits(float x) {
  return std::bit_cast<std::int32_t>(x);
}
[[gnu::always_inline]] inline float bits_float(std::int32_t x) {
  return std::bit_cast<float>(x);
}
[[gnu::always_inline]] inline IntVec float_bits(Vec x) {
  return (IntVec)x;
}
[[gnu::always_inline]] inline Vec bits_float(IntVec x) {
  return (Vec)x;
}
}  // namespace detail

/// Where fast_exp holds its argument. Defined elsewhere, out of the compiler's sight: against a
/// constant that it knows, GCC 12 makes two blends and their comparisons of the two bounds, against
/// an unknown one a minimum and a maximum.
extern const float exp_low;
extern const float exp_high;

/// e^x within 2 units in the last place for x in [-87.6, 88.3]; zero below, infinite above, NaN for
/// NaN. libm's vector functions are reached with -ffast-math only, which would give up NaN; this is
/// straight line code that loops over float vectorise, and that takes a Vec as well.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2. n comes from adding 1.5·2^23, whose last mantissa bits then
/// hold it; ln 2 is split so that n·high is exact; the polynomial is Cephes' expf. At the bounds
/// that x is held to, the bits of 2^n are those of zero and of infinity.
template <typename F>
[[gnu::always_inline]] inline F fast_exp(F x) {
  using detail::bits_float;
  using detail::float_bits;
  const F low = F{} + exp_low;
  const F high = F{} + exp_high;
  const F raised = x < low ? low : x;
  const F y = raised > high ? high : raised;
  const F magic = F{} + 12582912.0f;
  const F shifted = y * 1.44269504f + magic;
  const F n = shifted - magic;
  const F r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  // In pairs, because the chain of one Horner scheme is longer than a processor looks ahead.
  const F r2 = r * r;
  const F p01 = r * 1.6666665459e-1f + 5.0000001201e-1f;
  const F p23 = r * 8.3334519073e-3f + 4.1665795894e-2f;
  const F p45 = r * 1.9875691500e-4f + 1.3981999507e-3f;
  const F tail = (p45 * r2 + p23) * r2 + p01;
  const F p = (tail * r2 + r) + 1.0f;
  return p * bits_float((float_bits(shifted) - float_bits(magic) + 127) << 23);
}

template <typename F>
[[gnu::always_inline]] inline F sigmoid(F x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

// GELU's tanh form: x/2 · (1 + tanh(u)) = x · sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³)
// (Hendrycks, Gimpel: "Gaussian error linear units", 2016).
inline constexpr float gelu_twice_root = 1.5957691216057308f;
inline constexpr float gelu_cubic = 0.044715f;

template <Activation activation, typename F>
[[gnu::always_inline]] inline F activate(F x) {
  if constexpr (activation == Activation::gelu_tanh) {
    return x * sigmoid(gelu_twice_root * (x + gelu_cubic * x * x * x));
  } else if constexpr (activation == Activation::silu) {
    return x * sigmoid(x);
  } else {
    return x;
  }
}

/// d activate / dx.
template <Activation activation, typename F>
[[gnu::always_inline]] inline F activate_slope(F x) {
  if constexpr (activation == Activation::gelu_tanh) {
    const F s = sigmoid(gelu_twice_root * (x + gelu_cubic * x * x * x));
    const F inner = gelu_twice_root * (1.0f + 3.0f * gelu_cubic * x * x);
    return s + x * s * (1.0f - s) * inner;
  } else if constexpr (activation == Activation::silu) {
    const F s = sigmoid(x);
    return s + x * s * (1.0f - s);
  } else {
    return F{} + 1.0f;
  }
}

/// Calls body with the activation as a template argument: body.template operator()<activation>().
template <typename Body>
void with_activation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::none:
      return body.template operator()<Activation::none>();
    case Activation::gelu_tanh:
      return body.template operator()<Activation::gelu_tanh>();
    case Activation::silu:
      return body.template operator()<Activation::silu>();
  }
}

}  // namespace train::cpu
