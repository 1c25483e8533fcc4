#include "libtrain/checkpoint/convert_values.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

template <typename From, typename To>
void convert_as(ConstBuffer from, Buffer to) {
  for (std::size_t i = 0; i < from.count; ++i) {
    From value;
    std::memcpy(&value, from.data + i * sizeof(From), sizeof(From));
    To converted;
    if constexpr (std::is_same_v<From, To>) {
      converted = value;
    } else if constexpr (std::is_same_v<To, BFloat16>) {
      converted = BFloat16(static_cast<float>(value));
    } else if constexpr (std::is_same_v<From, BFloat16>) {
      converted = static_cast<To>(static_cast<float>(value));
    } else {
      converted = static_cast<To>(value);
    }
    std::memcpy(to.data + i * sizeof(To), &converted, sizeof(To));
  }
}

template <typename From>
void convert_from(ConstBuffer from, Buffer to) {
  switch (to.type) {
    case DataType::f32:
      return convert_as<From, float>(from, to);
    case DataType::bf16:
      return convert_as<From, BFloat16>(from, to);
    case DataType::f64:
      return convert_as<From, double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

float widen_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1fu, mantissa = half & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float size = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal, or zero
  return sign == 0 ? size : -size;
}

}  // namespace

void convert_halves(std::span<const std::byte> halves, Buffer to) {
  invariant(halves.size() == 2 * to.count, "as many halves as values");
  std::vector<float> wide(to.count);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    std::uint16_t half;
    std::memcpy(&half, halves.data() + 2 * i, sizeof(half));
    wide[i] = widen_half(half);
  }
  convert_values({wide.data(), wide.size(), DataType::f32}, to);
}

void convert_values(ConstBuffer from, Buffer to) {
  invariant(from.count == to.count, "as many values as before");
  if (from.type == to.type) {
    if (from.count > 0) std::memcpy(to.data, from.data, from.bytes());
    return;
  }
  switch (from.type) {
    case DataType::f32:
      return convert_from<float>(from, to);
    case DataType::bf16:
      return convert_from<BFloat16>(from, to);
    case DataType::f64:
      return convert_from<double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

}  // namespace train
