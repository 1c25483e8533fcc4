#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace train::detail {

/// What one thread needs to match an expression, which must outlive it.
class Matcher {
 public:
  virtual ~Matcher() = default;
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  /// The next match at or after `from`, as [first, second); both npos if there is none. `text` must
  /// be valid UTF-8. Throws Error if it takes more steps than the library allows.
  virtual std::pair<std::size_t, std::size_t> next(std::string_view text, std::size_t from) = 0;

 protected:
  Matcher() = default;
};

/// A compiled regular expression over text in UTF-8, with Unicode's properties; any number of
/// threads may match it.
class RegularExpression {
 public:
  virtual ~RegularExpression() = default;
  RegularExpression(const RegularExpression&) = delete;
  RegularExpression& operator=(const RegularExpression&) = delete;

  virtual std::unique_ptr<Matcher> matcher() const = 0;

 protected:
  RegularExpression() = default;
};

/// Read and matched by Oniguruma, as Hugging Face's tokenizers do. Throws Error with what is wrong.
std::shared_ptr<const RegularExpression> compile_oniguruma(const std::string& expression);

/// The same matches by PCRE2, some five times faster with its JIT, for expressions that it
/// understands as Oniguruma does. Throws Error with what is wrong.
std::shared_ptr<const RegularExpression> compile_pcre2(const std::string& expression);

/// Whether an expression is written in what both libraries understand alike: literals, classes of
/// characters and general categories, \s, groups, lookahead, and one quantifier each. Not so, for
/// instance, are `[a&&[^b]]`, `\h`, `\p{Han}`, `{,n}` and `^`.
bool means_the_same_to_pcre2(std::string_view expression);

}  // namespace train::detail
