#include <array>

#include <fmt/format.h>
#include <oniguruma.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/regular_expression.hpp"

namespace train::detail {
namespace {

const OnigUChar* bytes_of(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

std::string message_of(int code, OnigErrorInfo* info = nullptr) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> text{};
  const int length = onig_error_code_to_str(text.data(), code, info);
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length)};
}

void initialize() {
  static const int failed = [] {
    OnigEncoding encoding = ONIG_ENCODING_UTF8;
    return onig_initialize(&encoding, 1);
  }();
  if (failed != ONIG_NORMAL) throw Error(message_of(failed));
}

/// Before 6.9.9, [:punct:] leaves out most symbols; tokenizers are made with later ones.
std::string spell_out_punctuation(std::string_view expression) {
  std::string result;
  int depth = 0;  // of classes
  const auto take = [&](std::string_view word, std::string_view instead) {
    if (!expression.starts_with(word)) return false;
    result += instead;
    expression.remove_prefix(word.size());
    return true;
  };
  while (!expression.empty()) {
    if (depth > 0 && take("[:punct:]", R"(\p{P}\p{S})")) continue;
    if (depth > 0 && take("[:^punct:]", R"([^\p{P}\p{S}])")) continue;
    depth += expression.starts_with('[') ? 1 : 0;
    depth -= expression.starts_with(']') && depth > 0 ? 1 : 0;
    const std::size_t bytes = expression.starts_with('\\') && expression.size() > 1 ? 2 : 1;
    result += expression.substr(0, bytes);
    expression.remove_prefix(bytes);
  }
  return result;
}

class OnigurumaMatcher final : public Matcher {
 public:
  explicit OnigurumaMatcher(regex_t* code)
      : code_(code), region_(onig_region_new(), [](OnigRegion* old) { onig_region_free(old, 1); }) {
    if (!region_) throw std::bad_alloc();
  }

  std::pair<std::size_t, std::size_t> next(std::string_view text, std::size_t from) override {
    const OnigUChar* begin = bytes_of(text);
    const OnigUChar* end = begin + text.size();
    const int found =
        onig_search(code_, begin, end, begin + from, end, region_.get(), ONIG_OPTION_NONE);
    if (found == ONIG_MISMATCH) return {std::string_view::npos, std::string_view::npos};
    if (found < 0) {
      throw Error(
          fmt::format("the tokenizer's pattern failed at byte {}: {}", from, message_of(found)));
    }
    return {static_cast<std::size_t>(region_->beg[0]), static_cast<std::size_t>(region_->end[0])};
  }

 private:
  regex_t* code_;
  std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region_;
};

class OnigurumaExpression final : public RegularExpression {
 public:
  explicit OnigurumaExpression(std::string_view given) {
    initialize();
    const std::string expression = spell_out_punctuation(given);
    regex_t* code = nullptr;
    OnigErrorInfo info{};
    const OnigUChar* begin = bytes_of(expression);
    const int failed = onig_new(&code, begin, begin + expression.size(), ONIG_OPTION_NONE,
                                ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
    if (failed != ONIG_NORMAL) throw Error(message_of(failed, &info));
    code_.reset(code);
  }

  std::unique_ptr<Matcher> matcher() const override {
    return std::make_unique<OnigurumaMatcher>(code_.get());
  }

 private:
  std::unique_ptr<regex_t, void (*)(regex_t*)> code_{nullptr, onig_free};
};

}  // namespace

std::shared_ptr<const RegularExpression> compile_oniguruma(const std::string& expression) {
  return std::make_shared<OnigurumaExpression>(expression);
}

}  // namespace train::detail
