#include "collectives/wide/codec/sum_feedback.hpp"

#include <algorithm>
#include <utility>

#include "collectives/wide/codec/encode.hpp"

namespace train::wide {

void SumFeedback::begin(std::size_t begin, std::size_t count) {
  next_.begin = begin;
  next_.lost.resize(codec_ == Codec::none ? 0 : count);
  encoded_ = 0;
}

void SumFeedback::quantise(std::size_t begin, std::span<float> sums, std::span<std::byte> out) {
  if (codec_ == Codec::none) return wide::quantise(codec_, sums, out);
  const std::size_t end = begin + sums.size();
  invariant(next_.begin <= begin && end <= next_.end(), "a chunk lies within the slice");
  // In pieces that lie within the committed slice, or outside: between blocks as all slices are.
  for (std::size_t at = begin; at < end;) {
    const bool kept = kept_.begin <= at && at < kept_.end();
    const std::size_t border = kept ? kept_.end() : at < kept_.begin ? kept_.begin : end;
    const std::size_t count = std::min(border, end) - at;
    const std::span<float> piece = sums.subspan(at - begin, count);
    detail::EncodePass pass{.values = piece, .residual = {}, .out = {}, .lost = {}, .decoded = {}};
    if (kept) pass.residual = std::span(kept_.lost).subspan(at - kept_.begin, count);
    pass.out = out.first(encoded_bytes(codec_, count));
    pass.lost = std::span(next_.lost).subspan(at - next_.begin, count);
    pass.decoded = piece;
    detail::encode(codec_, pass);
    out = out.subspan(pass.out.size());
    at += count;
  }
  encoded_ += sums.size();
}

void SumFeedback::commit() {
  invariant(encoded_ == next_.lost.size(), "an exchange that commits has summed all of its slice");
  std::swap(kept_, next_);
  encoded_ = 0;
}

void SumFeedback::reset() {
  kept_.lost.clear();
  next_.lost.clear();
  encoded_ = 0;
}

}  // namespace train::wide
