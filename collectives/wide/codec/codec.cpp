#include "collectives/wide/codec/codec.hpp"

#include <array>

#include <fmt/format.h>

#include "collectives/wide/codec/block.hpp"

namespace train::wide {
namespace {

constexpr std::array codecs = {Codec::none, Codec::bf16, Codec::int8, Codec::int4};

}  // namespace

const char* name_of(Codec codec) {
  switch (codec) {
    case Codec::none:
      return "none";
    case Codec::bf16:
      return "bf16";
    case Codec::int8:
      return "int8";
    case Codec::int4:
      return "int4";
  }
  unreachable("unknown Codec");
}

Codec codec_of(std::string_view name) {
  for (const Codec codec : codecs) {
    if (name == name_of(codec)) return codec;
  }
  throw Error(fmt::format("codec '{}': unknown; choose none, bf16, int8 or int4", name));
}

std::size_t encoded_bytes(Codec codec, std::size_t count) {
  return detail::with_format(codec, [count](auto format) {
    const std::size_t rest = count % codec_block;
    return count / codec_block * format.bytes(codec_block) + (rest > 0 ? format.bytes(rest) : 0);
  });
}

NotEncodable::NotEncodable(Codec codec, std::size_t index, float value)
    : Error(fmt::format("codec {}: value {} cannot be exchanged, only finite ones{} can; the "
                        "training has diverged, or the sum of its changes has",
                        name_of(codec), value,
                        codec == Codec::none ? "" : " below 2^127 (1.7e38)")),
      index_(index),
      value_(value) {}

}  // namespace train::wide
