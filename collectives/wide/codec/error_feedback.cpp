#include "collectives/wide/codec/error_feedback.hpp"

#include <algorithm>

#include "collectives/wide/codec/encode.hpp"

namespace train::wide {

ErrorFeedback::ErrorFeedback(Codec codec, std::size_t count, std::pmr::memory_resource* memory)
    : codec_(codec),
      count_(count),
      residual_(codec == Codec::none ? 0 : count, memory),
      next_(residual_.size(), memory),
      encoded_((count + codec_block - 1) / codec_block, memory) {}

void ErrorFeedback::encode(std::size_t begin, std::span<const float> values,
                           std::span<std::byte> out) {
  invariant(begin <= count_ && values.size() <= count_ - begin, "a slice lies within its tensor");
  const std::size_t end = begin + values.size();
  invariant(begin % codec_block == 0 && (end % codec_block == 0 || end == count_),
            "slices are cut between blocks");
  detail::EncodePass pass{.values = values, .residual = {}, .out = out, .lost = {}, .decoded = {}};
  if (!residual_.empty()) {
    pass.residual = std::span(residual_).subspan(begin, values.size());
    pass.lost = std::span(next_).subspan(begin, values.size());
  }
  detail::encode(codec_, pass);
  for (std::size_t at = begin; at < end; at += codec_block) encoded_[at / codec_block] = 1;
}

void ErrorFeedback::commit() {
  invariant(std::ranges::all_of(encoded_, [](auto done) { return done == 1; }),
            "an exchange that commits has encoded all of the tensor");
  std::swap(residual_, next_);
  discard();
}

void ErrorFeedback::discard() {
  std::ranges::fill(encoded_, std::uint8_t{0});
}

void ErrorFeedback::reset() {
  std::ranges::fill(residual_, 0.0f);
  discard();
}

}  // namespace train::wide
