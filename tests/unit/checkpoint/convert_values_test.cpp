#include "libtrain/checkpoint/convert_values.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

using namespace train;

namespace {

// By the definition of IEEE 754.
float value_of(std::uint32_t half) {
  const float sign = (half & 0x8000u) != 0 ? -1.0f : 1.0f;
  const int exponent = static_cast<int>(half >> 10 & 0x1fu);
  const auto mantissa = static_cast<float>(half & 0x3ffu);
  if (exponent == 31) {
    return mantissa == 0.0f ? sign * std::numeric_limits<float>::infinity() : std::nanf("");
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024.0f + mantissa, exponent - 25);
}

}  // namespace

TEST_CASE("every half becomes its own value") {
  std::vector<std::uint16_t> halves(1 << 16);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  std::vector<float> values(halves.size());
  convert_halves(std::as_bytes(std::span(halves)),
                 {reinterpret_cast<std::byte*>(values.data()), values.size(), DataType::f32});
  for (std::uint32_t half = 0; half < halves.size(); ++half) {
    CAPTURE(half);
    const float expected = value_of(half);
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(values[half]));
    } else {
      REQUIRE(std::bit_cast<std::uint32_t>(values[half]) == std::bit_cast<std::uint32_t>(expected));
    }
  }
}
