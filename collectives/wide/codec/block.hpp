#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "collectives/types.hpp"
#include "collectives/wide/codec/codec.hpp"

// How each codec turns one block into bytes and back. Loops run over whole blocks, so that the
// compiler knows their length and vectorises them; a short block is padded with zeros on the stack,
// which change neither its scale nor its bytes. All sources that include this must be compiled
// with -ffp-contract=off.

namespace train::wide::detail {

static_assert(std::endian::native == std::endian::little, "payloads are copied as they are");

/// Up to 256 values, then zeros.
struct alignas(64) Block {
  float at[codec_block];
};

inline constexpr std::uint32_t infinity_bits = 0x7f800000u, two_to_127_bits = 0x7f000000u;

inline std::uint32_t magnitude_bits(float value) {
  return std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
}

/// The largest magnitude, as the bits of a float: they grow with it, and are largest for NaN.
inline std::uint32_t magnitude_bits(const Block& block) {
  std::int32_t largest = 0;  // signed: plain x86-64 compares no others
  for (std::size_t i = 0; i < codec_block; ++i) {
    largest = std::max(largest, static_cast<std::int32_t>(magnitude_bits(block.at[i])));
  }
  return static_cast<std::uint32_t>(largest);
}

// A format has, for a block of `count` values:
//   limit                             magnitudes from here on are not encoded
//   bytes(count)                      size of its payload
//   encode(block, magnitude, count, out, decoded)
//   decode(in, count, block)          false if a value might not be finite

struct F32Format {
  static constexpr std::uint32_t limit = infinity_bits;
  static constexpr std::size_t bytes(std::size_t count) { return 4 * count; }

  static void encode(const Block& block, std::uint32_t, std::size_t count, std::byte* out,
                     Block& decoded) {
    std::memcpy(out, block.at, bytes(count));
    decoded = block;
  }
  static bool decode(const std::byte* in, std::size_t count, Block& block) {
    std::memcpy(block.at, in, bytes(count));
    return magnitude_bits(block) < limit;
  }
};

struct Bf16Format {
  static constexpr std::uint32_t limit = two_to_127_bits;
  static constexpr std::size_t bytes(std::size_t count) { return 2 * count; }

  static void encode(const Block& block, std::uint32_t, std::size_t count, std::byte* out,
                     Block& decoded) {
    alignas(64) std::uint16_t half[codec_block];
    for (std::size_t i = 0; i < codec_block; ++i) {
      // As BFloat16 rounds, which looks for NaN besides.
      const auto word = std::bit_cast<std::uint32_t>(block.at[i]);
      const std::uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) & 0xffff0000u;
      half[i] = static_cast<std::uint16_t>(rounded >> 16);
      decoded.at[i] = std::bit_cast<float>(rounded);
    }
    std::memcpy(out, half, bytes(count));
  }
  static bool decode(const std::byte* in, std::size_t count, Block& block) {
    alignas(64) std::uint16_t half[codec_block] = {};
    std::memcpy(half, in, bytes(count));
    for (std::size_t i = 0; i < codec_block; ++i) {
      block.at[i] = std::bit_cast<float>(static_cast<std::uint32_t>(half[i]) << 16);
    }
    return magnitude_bits(block) <= limit;
  }
};

/// Integers of −Q … Q times a scale.
template <int Q>
struct Quantiser {
  using Values = std::array<std::int8_t, codec_block>;

  static float scale_of(std::uint32_t magnitude) {
    const auto largest = std::bit_cast<float>(magnitude);
    return largest < Q * FLT_MIN ? 0.0f : largest / Q;
  }
  static bool valid(float scale) {
    return scale == 0.0f || (scale >= FLT_MIN && scale <= scale_of(two_to_127_bits));
  }

  static void quantise(const Block& block, float scale, Values& values, Block& decoded) {
    // Adding 1.5 · 2^23 leaves a float no bits for a fraction: the addition rounds to nearest even,
    // and the low bits of the sum are the integer.
    constexpr float shift = 12582912.0f;
    const float divisor = scale == 0.0f ? 1.0f : scale;
    for (std::size_t i = 0; i < codec_block; ++i) {
      const float shifted = block.at[i] / divisor + shift;
      values[i] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(shifted));
      decoded.at[i] = (shifted - shift) * scale;
    }
  }
  static void restore(const Values& values, float scale, Block& block) {
    for (std::size_t i = 0; i < codec_block; ++i) {
      block.at[i] = static_cast<float>(values[i]) * scale;
    }
  }
};

struct Int8Format {
  using Integers = Quantiser<127>;
  static constexpr std::uint32_t limit = two_to_127_bits;
  static constexpr std::size_t bytes(std::size_t count) { return sizeof(float) + count; }

  static void encode(const Block& block, std::uint32_t magnitude, std::size_t count, std::byte* out,
                     Block& decoded) {
    const float scale = Integers::scale_of(magnitude);
    alignas(64) Integers::Values values;
    Integers::quantise(block, scale, values, decoded);
    std::memcpy(out, &scale, sizeof scale);
    std::memcpy(out + sizeof scale, values.data(), count);
  }
  static bool decode(const std::byte* in, std::size_t count, Block& block) {
    float scale;
    std::memcpy(&scale, in, sizeof scale);
    alignas(64) Integers::Values values = {};
    std::memcpy(values.data(), in + sizeof scale, count);
    Integers::restore(values, scale, block);
    return Integers::valid(scale);
  }
};

struct Int4Format {
  using Integers = Quantiser<7>;
  using Pairs = std::array<std::uint16_t, codec_block / 2>;  // of bytes, the first one low
  static constexpr std::uint32_t limit = two_to_127_bits;
  static constexpr std::size_t bytes(std::size_t count) { return sizeof(float) + (count + 1) / 2; }

  static void encode(const Block& block, std::uint32_t magnitude, std::size_t count, std::byte* out,
                     Block& decoded) {
    const float scale = Integers::scale_of(magnitude);
    alignas(64) Integers::Values values;
    Integers::quantise(block, scale, values, decoded);
    const auto pairs = std::bit_cast<Pairs>(values);
    alignas(64) std::array<std::uint8_t, codec_block / 2> packed;
    for (std::size_t i = 0; i < packed.size(); ++i) {
      packed[i] = static_cast<std::uint8_t>((pairs[i] & 0x0fu) | ((pairs[i] >> 4) & 0xf0u));
    }
    std::memcpy(out, &scale, sizeof scale);
    std::memcpy(out + sizeof scale, packed.data(), bytes(count) - sizeof scale);
  }
  static bool decode(const std::byte* in, std::size_t count, Block& block) {
    float scale;
    std::memcpy(&scale, in, sizeof scale);
    alignas(64) std::array<std::uint8_t, codec_block / 2> packed = {};
    std::memcpy(packed.data(), in + sizeof scale, bytes(count) - sizeof scale);
    alignas(64) Pairs pairs;
    for (std::size_t i = 0; i < packed.size(); ++i) {
      pairs[i] = static_cast<std::uint16_t>((packed[i] & 0x0fu) | ((packed[i] & 0xf0u) << 4));
    }
    auto values = std::bit_cast<Integers::Values>(pairs);
    for (auto& value : values) value = static_cast<std::int8_t>((value ^ 8) - 8);
    Integers::restore(values, scale, block);
    return Integers::valid(scale);
  }
};

/// call(format) with the codec's format.
template <typename Call>
auto with_format(Codec codec, Call&& call) {
  switch (codec) {
    case Codec::none:
      return call(F32Format{});
    case Codec::bf16:
      return call(Bf16Format{});
    case Codec::int8:
      return call(Int8Format{});
    case Codec::int4:
      return call(Int4Format{});
  }
  unreachable("unknown Codec");
}

}  // namespace train::wide::detail
