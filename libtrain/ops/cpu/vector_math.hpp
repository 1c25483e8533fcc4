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

/// e^x within 2 units in the last place; results below 2^-125 are zero, NaN stays NaN. libm's
/// vector functions are reached with -ffast-math only, which would give up NaN; this is straight
/// line code that loops over float (or a vector of floats) vectorise.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2. n comes from adding 1.5·2^23, whose last mantissa bits then
/// hold it; ln 2 is split so that n·high is exact; the polynomial is Cephes' expf.
template <typename F>
[[gnu::always_inline]] inline F fast_exp(F x) {
  using detail::bits_float;
  using detail::float_bits;
  const F low = F{} - 86.6f;
  const F high = F{} + 88.72284f;
  const F clamped_low = x < low ? low : x;
  const F y = clamped_low > high ? high : clamped_low;
  const F magic = F{} + 12582912.0f;
  const F shifted = y * 1.44269504f + magic;
  const F n = shifted - magic;
  const F r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  F p = F{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^(n-1), doubled after: n = 128 has no float of its own.
  const F power = bits_float((float_bits(shifted) - float_bits(magic) + 126) << 23);
  const F result = p * power * 2.0f;
  const F infinity = F{} + std::numeric_limits<float>::infinity();
  const F flushed = x < low ? F{} : result;
  return x > high ? infinity : flushed;
}

[[gnu::always_inline]] inline float sigmoid(float x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

// GELU's tanh form: x/2 · (1 + tanh(u)) = x · sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³)
// (Hendrycks, Gimpel: "Gaussian error linear units", 2016).
inline constexpr float gelu_twice_root = 1.5957691216057308f;
inline constexpr float gelu_cubic = 0.044715f;

template <Activation activation>
[[gnu::always_inline]] inline float activate(float x) {
  if constexpr (activation == Activation::gelu_tanh) {
    return x * sigmoid(gelu_twice_root * (x + gelu_cubic * x * x * x));
  } else if constexpr (activation == Activation::silu) {
    return x * sigmoid(x);
  } else {
    return x;
  }
}

/// d activate / dx.
template <Activation activation>
[[gnu::always_inline]] inline float activate_slope(float x) {
  if constexpr (activation == Activation::gelu_tanh) {
    const float s = sigmoid(gelu_twice_root * (x + gelu_cubic * x * x * x));
    const float inner = gelu_twice_root * (1.0f + 3.0f * gelu_cubic * x * x);
    return s + x * s * (1.0f - s) * inner;
  } else if constexpr (activation == Activation::silu) {
    const float s = sigmoid(x);
    return s + x * s * (1.0f - s);
  } else {
    return 1.0f;
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
