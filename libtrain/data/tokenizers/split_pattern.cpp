#include "libtrain/data/tokenizers/split_pattern.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

/// PCRE2's \s holds U+180E, which lost its White_Space property in Unicode 6.3; so spell it out.
std::string spell_out_spaces(std::string_view expression) {
  constexpr std::string_view kSpaces = R"(\t-\r\x{85}\p{Z})";
  std::string result;
  bool in_class = false;
  std::size_t begin = 0;  // of the class
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char character = expression[i];
    if (character == '\\' && i + 1 < expression.size()) {
      const char escaped = expression[++i];
      if (escaped == 's') {
        result += in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces);
      } else if (escaped == 'S' && !in_class) {
        result += fmt::format("[^{}]", kSpaces);
      } else {
        result += {character, escaped};
      }
      continue;
    }
    if (in_class && expression.substr(i).starts_with("[:")) {
      const std::size_t end = std::min(expression.find(":]", i), expression.size() - 2);
      result += expression.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    }
    const std::size_t inside = i - begin;  // of its class, where a first ] is a character
    const bool first = inside == 1 || (inside == 2 && expression[i - 1] == '^');
    if (character == '[' && !in_class) begin = i;
    in_class = character == '[' || (in_class && (character != ']' || first));
    result += character;
  }
  return result;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

std::shared_ptr<pcre2_code> compile(const std::string& expression) {
  const std::string spelled = spell_out_spaces(expression);
  int error = 0;
  std::size_t at = 0;
  const auto options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
  std::shared_ptr<pcre2_code> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()),
                                                 spelled.size(), options, &error, &at, nullptr),
                                   [](pcre2_code* old) { pcre2_code_free(old); });
  if (!code) {
    throw Error(fmt::format("the tokenizer's pattern '{}' is not a regular expression: {}",
                            expression, message_of(error)));
  }
  // Without JIT support the interpreter gives the same matches, some ten times slower.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

/// What one thread needs to match.
class Splitter::Matcher {
 public:
  explicit Matcher(const pcre2_code* code)
      : code_(code),
        context_(pcre2_match_context_create(nullptr), pcre2_match_context_free),
        stack_(pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr), pcre2_jit_stack_free),
        data_(pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free) {
    if (!context_ || !data_) throw std::bad_alloc();
    if (stack_) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  /// The next match at or after `from`, as [first, second); both npos if there is none.
  std::pair<std::size_t, std::size_t> next(std::string_view text, std::size_t from) {
    const int found =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data_.get(), context_.get());
    if (found == PCRE2_ERROR_NOMATCH) return {std::string_view::npos, std::string_view::npos};
    if (found < 0) {
      throw Error(
          fmt::format("the tokenizer's pattern failed at byte {}: {}", from, message_of(found)));
    }
    const std::size_t* range = pcre2_get_ovector_pointer(data_.get());
    return {range[0], range[1]};
  }

 private:
  const pcre2_code* code_;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context_;
  std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> stack_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_;
};

SplitPattern::SplitPattern(std::string expression, Gaps gaps)
    : expression_(std::move(expression)), gaps_(gaps), code_(compile(expression_)) {}

Splitter::Splitter(const SplitPattern& pattern)
    : gaps_(pattern.gaps()),
      matcher_(std::make_shared<Matcher>(static_cast<const pcre2_code*>(pattern.code_.get()))) {}

void Splitter::split(std::string_view text, const Visit& visit) {
  std::size_t at = 0;
  while (at < text.size()) {
    auto [first, second] = matcher_->next(text, at);
    const bool none = first == std::string_view::npos;
    // \K inside a lookaround can report a match that begins before `at` or ends before it begins.
    if (none || first < at || second <= first) first = second = text.size();
    if (first > at && gaps_ == SplitPattern::Gaps::keep) visit(text.substr(at, first - at));
    if (second > first) visit(text.substr(first, second - first));
    at = second;
  }
}

}  // namespace train::detail
