#include "libtrain/model/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/philox.hpp"

namespace train {

void SamplingOptions::validate() const {
  if (!(temperature >= 0.0f && std::isfinite(temperature))) {
    throw Error(fmt::format("--temperature is {}; it must be finite, and 0 or more", temperature));
  }
  if (top_k < 0) throw Error(fmt::format("--top-k is {}; it must be 0 (off) or more", top_k));
  if (!(top_p > 0.0f && top_p <= 1.0f)) {
    throw Error(fmt::format("--top-p is {}; it must be above 0 and at most 1", top_p));
  }
}

Sampler::Sampler(SamplingOptions options) : options_(options) {
  options_.validate();
}

std::int32_t Sampler::pick(std::span<const float> logits) {
  invariant(!logits.empty(), "there is a token to pick");
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) {
    throw Error(
        "the model's logits are not finite: its weights are damaged, or it diverged while it was "
        "trained; an earlier checkpoint may be good");
  }
  if (options_.temperature == 0.0f) {
    return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  rank_candidates(logits);
  weights_.clear();
  for (const Candidate& candidate : candidates_) {
    weights_.push_back(std::exp(static_cast<double>(candidate.logit - candidates_.front().logit) /
                                options_.temperature));
  }
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  std::size_t kept = 0;
  double mass = 0.0;
  while (kept < weights_.size() && (kept == 0 || mass < options_.top_p * total)) {
    mass += weights_[kept++];
  }
  const auto bits = Philox(options_.seed, "sampler")(0, draws_++);
  double left = static_cast<double>(uniform_from_bits(bits[0])) * mass;
  for (std::size_t i = 0; i < kept; ++i) {
    left -= weights_[i];
    if (left <= 0.0) return candidates_[i].token;
  }
  return candidates_[kept - 1].token;
}

void Sampler::rank_candidates(std::span<const float> logits) {
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({static_cast<std::int32_t>(i), logits[i]});
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  const auto wanted = options_.top_k > 0
                          ? std::min(candidates_.size(), static_cast<std::size_t>(options_.top_k))
                          : candidates_.size();
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(wanted),
                    candidates_.end(), likelier);
  candidates_.resize(wanted);
}

}  // namespace train
