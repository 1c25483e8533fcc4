#include "libtrain/ops/token_checks.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr std::int32_t none = -1;  // padding, or in another part of the vocabulary

void check(const char* what, std::span<const std::int32_t> tokens, std::int64_t vocabulary) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= none && tokens[i] < vocabulary) continue;
    throw Error(fmt::format(
        "{} {} at position {} of the batch lies outside the model's vocabulary of {}; was the data "
        "tokenized for another model?",
        what, tokens[i], i, vocabulary));
  }
}

}  // namespace

void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocabulary) {
  check("token", tokens, vocabulary);
}

void check_targets(std::span<const std::int32_t> targets, std::int64_t vocabulary) {
  check("target", targets, vocabulary);
}

void check_parts(const Tensor& logits, std::span<const std::int32_t> targets, const Tensor& maximum,
                 const Tensor& sums) {
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  invariant(static_cast<std::int64_t>(targets.size()) == rows && maximum.elements() == rows &&
                sums.elements() == 2 * rows,
            "cross entropy of a part: targets[M], maximum[M] and sums[2,M] for logits[M,V]");
  for (const std::int32_t target : targets) {
    invariant(target >= none && target < width,
              "cross entropy of a part: a target is one of the part's columns, or -1");
  }
}

}  // namespace train
