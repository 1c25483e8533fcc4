#pragma once

#include <cstdint>
#include <cstring>

namespace train::cpu {

/// As many floats as the processor's vectors hold: the compiler's largest useful alignment.
inline constexpr int lanes = __BIGGEST_ALIGNMENT__ / sizeof(float);
using Vec [[gnu::vector_size(lanes * sizeof(float))]] = float;
using IntVec [[gnu::vector_size(lanes * sizeof(float))]] = std::int32_t;

[[gnu::always_inline]] inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
[[gnu::always_inline]] inline void store(float* to, Vec v) {
  std::memcpy(to, &v, sizeof v);
}

}  // namespace train::cpu
