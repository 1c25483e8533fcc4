#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "collectives/error.hpp"

// What an exchange sends in place of f32 values: fewer bytes, and the same floats on every machine
// that decodes them.
//
// The payload has no header; all numbers are little-endian. Values go in blocks of 256, the last
// one short, and each block's bytes follow those of the one before:
//
//   none  4·m bytes         the floats
//   bf16  2·m bytes         each rounded to nearest, ties to even
//   int8  4 + m bytes       an f32 scale, then one signed byte q per value
//   int4  4 + ⌈m/2⌉ bytes   an f32 scale, then two values per byte, the first in the low nibble,
//                           two's complement; an odd count leaves the last high nibble 0
//
// for a block of m values. With Q = 127 (int8) or 7 (int4): scale = max|x| / Q,
// q = x / scale rounded to nearest, ties to even, and decoded = q · scale, so that
// |decoded − x| ≤ scale / 2. A block whose scale would be subnormal (max|x| < Q · 2⁻¹²⁶) is sent
// as scale 0 and zeros: what it held is lost, or left to the error feedback.
//
// A slice that starts at a multiple of 256 values within its tensor encodes to the same bytes alone
// as within the whole: how an exchange is chunked or owned changes nothing.
//
// Each operation rounds once, as IEEE 754 says, in the default rounding mode: nothing is fused. To
// decode none and bf16 takes no arithmetic, and int8 and int4 decode to no subnormals: a processor
// set to flush those decodes the same. One thread encodes or decodes several GB of f32 a second
// (tests/bench/codec_bench.cpp); calls on different data may run at the same time.

namespace train::wide {

enum class Codec : std::uint8_t { none, bf16, int8, int4 };

/// "none", "bf16", "int8", "int4".
const char* name_of(Codec codec);
/// The codec of that name; Error for another.
Codec codec_of(std::string_view name);

/// Values that share a scale, and the step at which slices of a tensor may begin.
inline constexpr std::size_t codec_block = 256;

/// Exact size of the payload of `count` values: 4n, 2n, n + 4⌈n/256⌉, ⌈n/2⌉ + 4⌈n/256⌉.
std::size_t encoded_bytes(Codec codec, std::size_t count);

/// A value that must never be exchanged: NaN, infinite, or of 2¹²⁷ and more before a lossy codec,
/// which could decode it to infinity.
class NotEncodable : public Error {
 public:
  NotEncodable(Codec codec, std::size_t index, float value);
  /// Of the first such value, in the span that was to be encoded.
  std::size_t index() const { return index_; }
  float value() const { return value_; }

 private:
  std::size_t index_;
  float value_;
};

/// Writes the payload of `values` to `out`, of exactly encoded_bytes. Throws NotEncodable; `out`
/// then holds nothing of use.
void encode(Codec codec, std::span<const float> values, std::span<std::byte> out);

/// Encodes `values`, and replaces each by what its bytes decode to: so the owner of a slice applies
/// the very result that it sends to the others. When it throws NotEncodable, the blocks before the
/// one at fault have been replaced.
void quantise(Codec codec, std::span<float> values, std::span<std::byte> out);

/// The values of a payload. Throws Error if its size is not that of values.size() values, or if it
/// holds what no encoder writes and could decode to NaN or infinity; the blocks before have then
/// been written.
void decode(Codec codec, std::span<const std::byte> bytes, std::span<float> values);

/// accumulator += weight · decoded, with the product and then the sum rounded to f32. Throws as
/// decode does. One call per contributor, in the clusters' order, sums a slice the same everywhere.
void decode_add(Codec codec, std::span<const std::byte> bytes, float weight,
                std::span<float> accumulator);

}  // namespace train::wide
