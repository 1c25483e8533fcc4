#include "libtrain/data/tokenizers/split_pattern.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/regular_expression.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

std::shared_ptr<const RegularExpression> compile(const std::string& expression) {
  try {
    return means_the_same_to_pcre2(expression) ? compile_pcre2(expression)
                                               : compile_oniguruma(expression);
  } catch (const Error& error) {
    throw Error(fmt::format("the tokenizer's pattern '{}' is not a regular expression: {}",
                            expression, error.what()));
  }
}

}  // namespace

SplitPattern::SplitPattern(std::string expression, Gaps gaps)
    : expression_(std::move(expression)), gaps_(gaps), compiled_(compile(expression_)) {}

Splitter::Splitter(const SplitPattern& pattern)
    : gaps_(pattern.gaps()), matcher_(pattern.compiled_->matcher()) {}

void Splitter::split(std::string_view text, const Visit& visit) {
  std::size_t done = 0;  // what was visited or dropped
  const auto visit_gap = [&](std::size_t end) {
    if (end > done && gaps_ == SplitPattern::Gaps::keep) visit(text.substr(done, end - done));
    done = end;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto [first, second] = matcher_->next(text, at);
    // \K inside a lookaround can report a match that begins before `at` or ends before it begins.
    if (first == std::string_view::npos || first < at || second < first) break;
    visit_gap(first);
    if (second > first) visit(text.substr(first, second - first));
    done = at = second;
    // Matches of nothing cut, too, but the next one lies behind a character.
    if (second == first && at < text.size())
      at += std::max<std::size_t>(decode_utf8(text, at).bytes, 1);
  }
  visit_gap(text.size());
}

}  // namespace train::detail
