#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/types.hpp"
#include "collectives/wide/codec/codec.hpp"

namespace train::wide {

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;

inline constexpr Codec all_codecs[] = {Codec::none, Codec::bf16, Codec::int8, Codec::int4};

inline int largest_integer(Codec codec) {
  return codec == Codec::int8 ? 127 : 7;
}
inline bool is_scaled(Codec codec) {
  return codec == Codec::int8 || codec == Codec::int4;
}

inline Floats normal_values(std::mt19937& random, std::size_t count, float deviation = 1e-3f) {
  std::normal_distribution<float> normal(0.0f, deviation);
  Floats values(count);
  for (auto& value : values) value = normal(random);
  return values;
}

inline Bytes encoded(Codec codec, std::span<const float> values) {
  Bytes bytes(encoded_bytes(codec, values.size()));
  encode(codec, values, bytes);
  return bytes;
}

inline Floats decoded(Codec codec, std::span<const std::byte> bytes, std::size_t count) {
  Floats values(count, -1.0f);
  decode(codec, bytes, values);
  return values;
}

inline bool same_bits(const Floats& a, const Floats& b) {
  const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value); };
  return std::ranges::equal(a, b, {}, bits, bits);
}

// The plain reference: one value at a time, each operation rounded to f32. The test is compiled
// without fused products.
struct Reference {
  Bytes bytes;
  Floats values;

  void put(const void* from, std::size_t count) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), begin, begin + count);
  }
  void put_scaled(Codec codec, std::span<const float> block) {
    float largest = 0.0f;
    for (const float value : block) largest = std::max(largest, std::fabs(value));
    const auto integer_max = static_cast<float>(largest_integer(codec));
    const float scale = largest < integer_max * FLT_MIN ? 0.0f : largest / integer_max;
    put(&scale, sizeof scale);
    unsigned pending = 0;
    for (std::size_t i = 0; i < block.size(); ++i) {
      const int integer = scale == 0.0f ? 0 : static_cast<int>(std::nearbyint(block[i] / scale));
      REQUIRE(std::abs(integer) <= largest_integer(codec));
      values.push_back(static_cast<float>(integer) * scale);
      if (codec == Codec::int8) {
        bytes.push_back(static_cast<std::byte>(integer));
      } else if (i % 2 == 0) {
        pending = static_cast<unsigned>(integer) & 15u;
        if (i + 1 == block.size()) bytes.push_back(static_cast<std::byte>(pending));
      } else {
        bytes.push_back(static_cast<std::byte>(pending | (static_cast<unsigned>(integer) << 4)));
      }
    }
  }
};

inline Reference reference(Codec codec, std::span<const float> values) {
  Reference result;
  for (std::size_t begin = 0; begin < values.size(); begin += 256) {
    const auto block = values.subspan(begin, std::min<std::size_t>(256, values.size() - begin));
    if (is_scaled(codec)) {
      result.put_scaled(codec, block);
      continue;
    }
    for (const float value : block) {
      const BFloat16 half(value);
      result.values.push_back(codec == Codec::none ? value : static_cast<float>(half));
      if (codec == Codec::none) result.put(&value, sizeof value);
      if (codec == Codec::bf16) result.put(&half, sizeof half);
    }
  }
  return result;
}

}  // namespace train::wide
