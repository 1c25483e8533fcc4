#include "collectives/wide/codec/encode.hpp"

#include "collectives/wide/codec/block.hpp"

namespace train::wide {
namespace detail {
namespace {

void load(const EncodePass& pass, std::size_t begin, std::size_t count, Block& block) {
  if (count < codec_block) block = {};
  const float* values = pass.values.data() + begin;
  if (pass.residual.empty()) {
    std::memcpy(block.at, values, count * sizeof(float));
    return;
  }
  const float* residual = pass.residual.data() + begin;
  for (std::size_t i = 0; i < count; ++i) block.at[i] = values[i] + residual[i];
}

void store(const EncodePass& pass, std::size_t begin, std::size_t count, const Block& block,
           const Block& decoded) {
  if (!pass.lost.empty()) {
    float* lost = pass.lost.data() + begin;
    for (std::size_t i = 0; i < count; ++i) lost[i] = block.at[i] - decoded.at[i];
  }
  if (!pass.decoded.empty()) {
    std::memcpy(pass.decoded.data() + begin, decoded.at, count * sizeof(float));
  }
}

[[noreturn]] void refuse(Codec codec, const Block& block, std::size_t begin, std::uint32_t limit) {
  std::size_t i = 0;
  while (magnitude_bits(block.at[i]) < limit) ++i;
  throw NotEncodable(codec, begin + i, block.at[i]);
}

template <typename Format>
void encode_blocks(Codec codec, const EncodePass& pass) {
  std::byte* out = pass.out.data();
  Block block, decoded;
  for (std::size_t begin = 0; begin < pass.values.size(); begin += codec_block) {
    const std::size_t count = std::min(codec_block, pass.values.size() - begin);
    load(pass, begin, count, block);
    const std::uint32_t magnitude = magnitude_bits(block);
    if (magnitude >= Format::limit) refuse(codec, block, begin, Format::limit);
    Format::encode(block, magnitude, count, out, decoded);
    store(pass, begin, count, block, decoded);
    out += Format::bytes(count);
  }
}

}  // namespace

void encode(Codec codec, const EncodePass& pass) {
  const auto fits = [&pass](auto span) {
    return span.empty() || span.size() == pass.values.size();
  };
  invariant(fits(pass.residual) && fits(pass.lost) && fits(pass.decoded),
            "spans of one encoding have one size");
  invariant(pass.out.size() == encoded_bytes(codec, pass.values.size()),
            "the payload has encoded_bytes");
  with_format(codec, [&](auto format) { encode_blocks<decltype(format)>(codec, pass); });
}

}  // namespace detail

void encode(Codec codec, std::span<const float> values, std::span<std::byte> out) {
  detail::encode(codec, {.values = values, .residual = {}, .out = out, .lost = {}, .decoded = {}});
}

void quantise(Codec codec, std::span<float> values, std::span<std::byte> out) {
  detail::encode(codec,
                 {.values = values, .residual = {}, .out = out, .lost = {}, .decoded = values});
}

}  // namespace train::wide
