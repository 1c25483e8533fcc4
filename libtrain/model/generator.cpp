#include "libtrain/model/generator.hpp"

#include <algorithm>

namespace train {

Generator::Generator(Gpt& model, SamplingOptions options, std::int64_t capacity)
    : model_(model), sampler_(options), cache_(model.new_cache(1, capacity)) {}

void Generator::begin(std::span<const std::int32_t> prompt) {
  if (prompt.empty()) throw Error("the prompt is empty; generation needs a first token");
  text_.assign(prompt.begin(), prompt.end());
  cache_.clear();
  logits_.clear();
  const auto room = static_cast<std::size_t>(cache_.capacity());
  feed(prompt.last(std::min(prompt.size(), room)));
}

std::int32_t Generator::next() {
  invariant(!logits_.empty(), "generation has begun");
  const std::int32_t token = sampler_.pick(logits_);
  text_.push_back(token);
  if (cache_.length() < cache_.capacity()) {
    feed(std::span(text_).last(1));
  } else {
    cache_.clear();
    const auto kept = static_cast<std::size_t>(std::max<std::int64_t>(1, cache_.capacity() / 2));
    feed(std::span(text_).last(std::min(text_.size(), kept)));
  }
  return token;
}

void Generator::feed(std::span<const std::int32_t> tokens) {
  const Tensor logits = model_.extend(tokens, cache_);
  logits_.resize(static_cast<std::size_t>(logits.elements()));
  logits.copy_to_host(std::as_writable_bytes(std::span(logits_)));
}

}  // namespace train
