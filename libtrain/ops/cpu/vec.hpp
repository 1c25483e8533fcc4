#pragma once

#include <cstdint>
#include <cstring>

#include "libtrain/ops/cpu/element.hpp"

// Vectors of the compiler (GCC and Clang alike): they become whatever the processor compiled for
// has. They serve what the vectoriser does badly: sums, which it may not reorder, products that
// must stay in registers, and arithmetic between elements of 16 bits.

namespace train::cpu {

/// As many floats as the processor's vectors hold: the compiler's largest useful alignment.
inline constexpr int lanes = __BIGGEST_ALIGNMENT__ / sizeof(float);
using Vec [[gnu::vector_size(lanes * sizeof(float))]] = float;
using IntVec [[gnu::vector_size(lanes * sizeof(float))]] = std::int32_t;
using WordVec [[gnu::vector_size(lanes * sizeof(float))]] = std::uint32_t;
using HalfWordVec [[gnu::vector_size(lanes * sizeof(std::uint16_t))]] = std::uint16_t;

[[gnu::always_inline]] inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
[[gnu::always_inline]] inline Vec load(const BFloat16* from) {
  HalfWordVec v;
  std::memcpy(&v, from, sizeof v);
  return (Vec)(__builtin_convertvector(v, WordVec) << 16);
}
[[gnu::always_inline]] inline void store(float* to, Vec v) {
  std::memcpy(to, &v, sizeof v);
}

/// Rounds to nearest even, as from_float does.
[[gnu::always_inline]] inline void store(BFloat16* to, Vec v) {
  const WordVec word = (WordVec)v;
  const WordVec rounded = word + 0x7fffu + ((word >> 16) & 1u);
  const HalfWordVec half =
      __builtin_convertvector((v == v ? rounded : word | 0x400000u) >> 16, HalfWordVec);
  std::memcpy(static_cast<void*>(to), &half, sizeof half);
}

/// Sum of the lanes, halves first.
[[gnu::always_inline]] inline float sum_lanes(Vec v) {
  float lane[lanes];
  store(lane, v);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

/// Where a loop's body stands: at(p) is a vector of p's elements from `index` on, or one element,
/// and at.put(p, value) stores such a one.
struct VecAt {
  std::int64_t index;
  template <typename T>
  [[gnu::always_inline]] Vec operator()(const T* p) const {
    return load(p + index);
  }
  template <typename T>
  [[gnu::always_inline]] void put(T* p, Vec value) const {
    store(p + index, value);
  }
};
struct FloatAt {
  std::int64_t index;
  template <typename T>
  [[gnu::always_inline]] float operator()(const T* p) const {
    return to_float(p[index]);
  }
  template <typename T>
  [[gnu::always_inline]] void put(T* p, float value) const {
    p[index] = from_float<T>(value);
  }
};

/// body(at) over [0, count). The vectoriser would take as many elements at once as fit a vector of
/// the narrowest type, and run out of registers where bf16 meets an exponential.
template <typename Body>
[[gnu::always_inline]] inline void for_each_over(std::int64_t count, Body&& body) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(VecAt{i});
  for (; i < count; ++i) body(FloatAt{i});
}

/// term(at) summed over [0, count), in an order that `count` alone fixes. Four sums run side by
/// side, since one addition takes as long as four can begin.
template <typename Term>
[[gnu::always_inline]] inline float sum_over(std::int64_t count, Term&& term) {
  Vec sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) sums[part] += term(VecAt{i + part * lanes});
  }
  for (; i + lanes <= count; i += lanes) sums[0] += term(VecAt{i});
  float total = sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < count; ++i) total += term(FloatAt{i});
  return total;
}

/// The largest of `values`; NaN are passed over.
template <typename T>
float max_over(std::int64_t count, const T* values, float lowest) {
  Vec largest[4];
  for (Vec& part : largest) part = Vec{} + lowest;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
      const Vec v = load(values + i + part * lanes);
      largest[part] = v > largest[part] ? v : largest[part];
    }
  }
  for (const int part : {1, 2, 3}) {
    largest[0] = largest[part] > largest[0] ? largest[part] : largest[0];
  }
  float result = lowest;
  for (int lane = 0; lane < lanes; ++lane) {
    if (largest[0][lane] > result) result = largest[0][lane];
  }
  for (; i < count; ++i) {
    const float v = to_float(values[i]);
    if (v > result) result = v;
  }
  return result;
}

}  // namespace train::cpu
