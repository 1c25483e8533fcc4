#include "libtrain/data/tokenizers/split_pattern.hpp"

#include <numeric>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/regular_expression.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using detail::SplitPattern;
using Pieces = std::vector<std::string>;

Pieces pieces_of(const SplitPattern& pattern, std::string_view text) {
  Pieces pieces;
  detail::Splitter(pattern).split(text,
                                  [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

}  // namespace

TEST_CASE("GPT-2's pattern keeps the space with the word after it") {
  const SplitPattern gpt2{std::string(detail::kGpt2Pattern)};
  CHECK(pieces_of(gpt2, "I'm  two-3\n\n x ") ==
        Pieces{"I", "'m", " ", " two", "-", "3", "\n\n", " x", " "});
  CHECK(pieces_of(gpt2, "a\u00a0b\u180ec") == Pieces{"a", "\u00a0", "b", "\u180e", "c"});
  CHECK(pieces_of(gpt2, "").empty());
}

TEST_CASE("gaps between matches are pieces, or left out") {
  CHECK(pieces_of(SplitPattern("[0-9]"), "a12bc") == Pieces{"a", "1", "2", "bc"});
  CHECK(pieces_of(SplitPattern("[0-9]", SplitPattern::Gaps::drop), "a12bc") == Pieces{"1", "2"});
  CHECK(pieces_of(SplitPattern("x*"), "axxb") == Pieces{"a", "xx", "b"});
  CHECK(pieces_of(SplitPattern(R"([^\s]+)"), "a b") == Pieces{"a", " ", "b"});
  CHECK(pieces_of(SplitPattern(R"(\\s)"), "a\\s b") == Pieces{"a", "\\s", " b"});
  // A first ] in a class is a character, and names of classes do not end it.
  CHECK(pieces_of(SplitPattern(R"([]\s]+)"), "a] b") == Pieces{"a", "] ", "b"});
  CHECK(pieces_of(SplitPattern(R"([^[:alpha:]\s]+)"), "a1 b") == Pieces{"a", "1", " b"});
}

TEST_CASE("a pattern that does not compile is shown") {
  for (const char* wrong : {"a(b", R"(\h(b)", "[a[b]", R"(\p{Nowhere})"}) {
    CAPTURE(std::string(wrong));
    CHECK(contains(message_of<Error>([&] { SplitPattern{std::string(wrong)}; }), wrong));
  }
}

TEST_CASE(
    "the patterns of most models go to the faster library, what it reads otherwise does not") {
  using detail::means_the_same_to_pcre2;
  const std::string contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  const std::string rest = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  for (const std::string& common :
       {std::string(detail::kGpt2Pattern),
        // Llama 3, Qwen 2, o200k, DeepSeek 2
        contractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)" + rest,
        contractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)" + rest,
        R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" +
            contractions + R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        std::string("[!\"#$%&'()*+,\\-./"
                    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[\u4e00-\u9fa5]+|\\s?\\p{L}+")}) {
    CAPTURE(common);
    CHECK(means_the_same_to_pcre2(common));
  }
  for (const char* other :
       {"[a&&b]",    "[a[b]]",  "[[:alpha:]]", "[]a]",     R"([\p{L}-z])", R"([\s-z])", "[a-c-e]",
        R"([a\S])",  "[a",      R"(\h)",       R"(\w)",    R"(\d)",        R"(\b)",     R"(\v)",
        R"(\u0041)", R"(\x41)", R"(\1)",       R"(\Qa\E)", R"(\p{Han})",   R"(\p{^L})", R"(\p{L)",
        R"(\p{Lx})", R"(\pL)",  "\\",          "^a",       "a$",           "a.b",       "a{,2}",
        "a{}",       "a{x}",    "a{2}+",       "a{2}?",    "a{1,2}{3}",    "a+*",       "a++?",
        "*a",        "(?i)a",   "(?i:ss)",     "(?m:a)",   "(?<n>a)",      "(?<=a)b",   "(?>a)",
        "(?#c)a",    "(*FAIL)", "(?(1)a)"}) {
    CAPTURE(std::string(other));
    CHECK_FALSE(means_the_same_to_pcre2(other));
  }
}

TEST_CASE("a pattern that backtracks without end is given up") {
  const SplitPattern hostile("(a+)+(a+)+[bc]d");
  CHECK(contains(message_of<Error>([&] { pieces_of(hostile, std::string(2000, 'a') + "d"); }),
                 "match limit"));
  const SplitPattern strange(R"((\h+)+(\h+)+[g-i]j)");
  CHECK(contains(message_of<Error>([&] { pieces_of(strange, std::string(2000, 'a') + "j"); }),
                 "retry-limit"));
}

TEST_CASE("megabytes without a break are split at once") {
  const SplitPattern gpt2{std::string(detail::kGpt2Pattern)};
  CHECK(pieces_of(gpt2, std::string(4 << 20, ' ')).size() == 1);
  CHECK(pieces_of(gpt2, std::string(4 << 20, 'x')).size() == 1);
  CHECK(pieces_of(gpt2, std::string(1 << 20, '\n') + "x").size() == 3);
  const SplitPattern met(R"([\p{Lu}\p{Lo}&&[^\p{Han}]]*[\p{Ll}\p{Lo}&&[^\p{Han}]]+)");
  CHECK(pieces_of(met, std::string(4 << 20, 'x')).size() == 1);
}

}  // namespace train::test
