#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace train::detail {

class Matcher;
class RegularExpression;

using Visit = std::function<void(std::string_view)>;

/// A regular expression that cuts text into the pieces within which BPE merges. Compiled once; any
/// number of threads may have Splitters of it.
///
/// The patterns of tokenizers are written for Oniguruma. PCRE2 would understand some of them
/// otherwise without a word, so it matches only what both understand alike: the common ones.
class SplitPattern {
 public:
  /// What happens to text between two matches.
  enum class Gaps { keep, drop };

  /// Throws Error with the expression and what is wrong with it.
  explicit SplitPattern(std::string expression, Gaps gaps = Gaps::keep);

  const std::string& expression() const { return expression_; }
  Gaps gaps() const { return gaps_; }

 private:
  friend class Splitter;

  std::string expression_;
  Gaps gaps_;
  std::shared_ptr<const RegularExpression> compiled_;
};

/// Applies a pattern, which must outlive it, in one thread. Making one maps memory, which takes
/// longer than to split a short text.
class Splitter {
 public:
  explicit Splitter(const SplitPattern& pattern);

  /// Visits matches and kept gaps from left to right. `text` must be valid UTF-8, and `visit` must
  /// not come back here. Throws Error if the expression needs more steps than the library allows.
  void split(std::string_view text, const Visit& visit);

 private:
  SplitPattern::Gaps gaps_;
  std::shared_ptr<Matcher> matcher_;
};

/// GPT-2's own: contractions, then words, numbers and other characters with the space before them.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace train::detail
