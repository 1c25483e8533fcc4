#include "libtrain/data/tokenizers/split_pattern.hpp"

#include <numeric>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
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
  CHECK(contains(message_of<Error>([] { SplitPattern("a(b"); }), "'a(b'"));
}

TEST_CASE("a pattern that backtracks without end is given up") {
  const SplitPattern hostile("(a+)+(a+)+[bc]d");
  CHECK(contains(message_of<Error>([&] { pieces_of(hostile, std::string(2000, 'a') + "d"); }),
                 "match limit"));
}

TEST_CASE("megabytes without a break are split at once") {
  const SplitPattern gpt2{std::string(detail::kGpt2Pattern)};
  CHECK(pieces_of(gpt2, std::string(4 << 20, ' ')).size() == 1);
  CHECK(pieces_of(gpt2, std::string(4 << 20, 'x')).size() == 1);
  CHECK(pieces_of(gpt2, std::string(1 << 20, '\n') + "x").size() == 3);
}

}  // namespace train::test
