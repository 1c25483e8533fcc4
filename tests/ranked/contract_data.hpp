#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "collectives/types.hpp"

namespace train {

/// Small whole numbers: sums over a few ranks are exact in every type but u8, which wraps.
inline int small_value(int rank, std::size_t index, int salt = 0) {
  const auto mixed = (static_cast<std::uint64_t>(rank) * 7919 + index * 104729 +
                      static_cast<std::uint64_t>(salt) * 1299709) *
                     0x9e3779b97f4a7c15u;
  return static_cast<int>(mixed >> 60);  // 0..15
}

template <typename T>
T element(int value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
double number(T value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return static_cast<float>(value);
  } else {
    return static_cast<double>(value);
  }
}

template <typename T>
std::vector<T> small_values(int rank, std::size_t count, int salt = 0) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = element<T>(small_value(rank, i, salt));
  return values;
}

/// What a reduction over `ranks` ranks of small_values must give at `index`.
inline int reduced(ReduceOp op, int ranks, std::size_t index, int salt = 0) {
  int result = small_value(0, index, salt);
  for (int rank = 1; rank < ranks; ++rank) {
    const int value = small_value(rank, index, salt);
    if (op == ReduceOp::sum) result += value;
    if (op == ReduceOp::min) result = value < result ? value : result;
    if (op == ReduceOp::max) result = value > result ? value : result;
  }
  return result;
}

/// The first index at which the values differ from what `expected(i)` says, or their count.
template <typename T, typename Expected>
std::size_t first_difference(const std::vector<T>& values, Expected expected) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (number(values[i]) != static_cast<double>(expected(i))) return i;
  }
  return values.size();
}

}  // namespace train
