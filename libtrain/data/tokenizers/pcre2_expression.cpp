#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/regular_expression.hpp"

namespace train::detail {
namespace {

/// The categories of Unicode, by their first letter, and what may follow it.
bool is_general_category(std::string_view name) {
  constexpr std::array<std::string_view, 7> known = {"LultmoLC", "Mnce", "Ndlo",  "Pcdseifo",
                                                     "Smcko",    "Zslp", "Ccfson"};
  const auto found = std::ranges::find_if(
      known, [&](std::string_view category) { return name.starts_with(category.front()); });
  if (found == known.end() || name.size() > 2) return false;
  return name.size() == 1 || (name[1] >= 'a' && found->substr(1).find(name[1]) != found->npos);
}

/// Goes through an expression as long as both libraries understand it alike.
class CommonSyntax {
 public:
  explicit CommonSyntax(std::string_view expression) : rest_(expression) {}

  bool holds() {
    while (!rest_.empty()) {
      if (!step()) return false;
    }
    return true;
  }

 private:
  enum class Item : std::uint8_t { character, set, other };

  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool step() {
    if (take("|")) return true;
    // Letters of either case in general fold to several in Oniguruma: ss and \u00df.
    if (take("(?i:'s|'t|'re|'ve|'m|'ll|'d)") || take("(?i:[sdmt]|ll|ve|re)")) {
      return step_quantifier();
    }
    if (take("(?")) return take(":") || take("!") || take("=");
    if (take("(")) return true;
    if (take("[")) return step_class() && step_quantifier();
    if (std::string_view("*+?{}^$.").find(rest_.front()) != rest_.npos) return false;
    return step_item("sSrnt") != Item::other && step_quantifier();
  }

  // A group's end, too, is no more than a character here.
  Item step_item(std::string_view letters) {
    if (take("\\")) return step_escape(letters);
    do {
      rest_.remove_prefix(1);
    } while (!rest_.empty() && (static_cast<unsigned char>(rest_.front()) & 0xc0u) == 0x80u);
    return Item::character;
  }

  Item step_escape(std::string_view letters) {
    constexpr std::string_view marks = R"(!"#$%&'()*+,-./:;=?@[\]^_`{|}~)";
    if (take("p{") || take("P{")) {
      const std::size_t end = rest_.find('}');
      if (end == rest_.npos || !is_general_category(rest_.substr(0, end))) return Item::other;
      rest_.remove_prefix(end + 1);
      return Item::set;
    }
    if (rest_.empty()) return Item::other;
    const char letter = rest_.front();
    const bool is_set = letter == 's' || letter == 'S';
    if (letters.find(letter) == rest_.npos && marks.find(letter) == rest_.npos) return Item::other;
    rest_.remove_prefix(1);
    return is_set ? Item::set : Item::character;
  }

  // Without classes in it, without && and without a - that may or may not be a range's.
  bool step_class() {
    take("^");
    if (rest_.starts_with(']')) return false;
    while (!rest_.empty() && !rest_.starts_with(']')) {
      if (rest_.starts_with('[') || rest_.starts_with("&&")) return false;
      const Item first = step_item("srnt");
      if (first == Item::other) return false;
      if (!begins_range()) continue;
      rest_.remove_prefix(1);
      if (first == Item::set || rest_.starts_with('[')) return false;
      if (step_item("rnt") != Item::character || begins_range()) return false;
    }
    return take("]");
  }
  bool begins_range() const {
    return rest_.size() > 1 && rest_.starts_with('-') && rest_[1] != ']';
  }

  bool begins_quantifier() const {
    return !rest_.empty() && std::string_view("*+?{").find(rest_.front()) != rest_.npos;
  }

  bool step_quantifier() {
    if (!begins_quantifier()) return true;
    if (take("{")) return step_times() && !begins_quantifier();
    rest_.remove_prefix(1);
    if (rest_.starts_with('+') || rest_.starts_with('?')) rest_.remove_prefix(1);
    return !begins_quantifier();
  }

  /// n}, n,} or n,m}.
  bool step_times() {
    if (!step_number()) return false;
    if (take(",")) step_number();
    return take("}");
  }
  bool step_number() {
    const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(digits);
    return digits > 0;
  }

  std::string_view rest_;
};

/// PCRE2's \s holds U+180E, which lost its White_Space property in Unicode 6.3; so spell it out.
std::string spell_out_spaces(std::string_view expression) {
  constexpr std::string_view spaces = R"(\t-\r\x{85}\p{Z})";
  std::string result;
  bool in_class = false;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char character = expression[i];
    if (character == '\\' && i + 1 < expression.size()) {
      const char escaped = expression[++i];
      if (escaped == 's') {
        result += in_class ? std::string(spaces) : fmt::format("[{}]", spaces);
      } else if (escaped == 'S') {
        result += fmt::format("[^{}]", spaces);
      } else {
        result += {character, escaped};
      }
      continue;
    }
    in_class = character == '[' || (in_class && character != ']');
    result += character;
  }
  return result;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

class Pcre2Matcher final : public Matcher {
 public:
  explicit Pcre2Matcher(const pcre2_code* code)
      : code_(code),
        context_(pcre2_match_context_create(nullptr), pcre2_match_context_free),
        stack_(pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr), pcre2_jit_stack_free),
        data_(pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free) {
    if (!context_ || !data_) throw std::bad_alloc();
    if (stack_) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  std::pair<std::size_t, std::size_t> next(std::string_view text, std::size_t from) override {
    const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                  from, PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
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

class Pcre2Expression final : public RegularExpression {
 public:
  explicit Pcre2Expression(std::string_view expression) {
    const std::string spelled = spell_out_spaces(expression);
    int error = 0;
    std::size_t at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr));
    if (!code_) throw Error(message_of(error));
    // Without JIT support the interpreter gives the same matches, some ten times slower.
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  std::unique_ptr<Matcher> matcher() const override {
    return std::make_unique<Pcre2Matcher>(code_.get());
  }

 private:
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code_{nullptr, pcre2_code_free};
};

}  // namespace

bool means_the_same_to_pcre2(std::string_view expression) {
  return CommonSyntax(expression).holds();
}

std::shared_ptr<const RegularExpression> compile_pcre2(const std::string& expression) {
  return std::make_shared<Pcre2Expression>(expression);
}

}  // namespace train::detail
