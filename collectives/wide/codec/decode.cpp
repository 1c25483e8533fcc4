#include <fmt/format.h>

#include "collectives/wide/codec/block.hpp"

namespace train::wide {
namespace {

[[noreturn]] void refuse(Codec codec, std::size_t begin) {
  throw Error(
      fmt::format("codec {}: the block of values from {} holds what no encoder writes; "
                  "the peer runs another version, or its bytes were damaged",
                  name_of(codec), begin));
}

/// use(begin, count, block) for each block of a payload of `count` values in all.
template <typename Format, typename Use>
void decode_blocks(Codec codec, std::span<const std::byte> bytes, std::size_t total, Use&& use) {
  const std::byte* in = bytes.data();
  detail::Block block = {};
  for (std::size_t begin = 0; begin < total; begin += codec_block) {
    const std::size_t count = std::min(codec_block, total - begin);
    if (count < codec_block) block = {};
    if (!Format::decode(in, count, block)) refuse(codec, begin);
    use(begin, count, block);
    in += Format::bytes(count);
  }
}

template <typename Use>
void decode_with(Codec codec, std::span<const std::byte> bytes, std::size_t total, Use&& use) {
  if (bytes.size() != encoded_bytes(codec, total)) {
    throw Error(
        fmt::format("codec {}: {} bytes for {} values, which take {}; the peer uses "
                    "another codec or other slices",
                    name_of(codec), bytes.size(), total, encoded_bytes(codec, total)));
  }
  detail::with_format(
      codec, [&](auto format) { decode_blocks<decltype(format)>(codec, bytes, total, use); });
}

}  // namespace

void decode(Codec codec, std::span<const std::byte> bytes, std::span<float> values) {
  decode_with(codec, bytes, values.size(),
              [values](std::size_t begin, std::size_t count, const detail::Block& block) {
                std::memcpy(values.data() + begin, block.at, count * sizeof(float));
              });
}

void decode_add(Codec codec, std::span<const std::byte> bytes, float weight,
                std::span<float> accumulator) {
  decode_with(codec, bytes, accumulator.size(),
              [=](std::size_t begin, std::size_t count, const detail::Block& block) {
                float* sums = accumulator.data() + begin;
                for (std::size_t i = 0; i < count; ++i) sums[i] += weight * block.at[i];
              });
}

}  // namespace train::wide
