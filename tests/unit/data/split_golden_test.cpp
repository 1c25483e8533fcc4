// Pieces are compared with those of Hugging Face's tokenizers; see make_split_golden.py.
#include <doctest/doctest.h>

#include "libtrain/data/tokenizers/split_pattern.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {

TEST_CASE("patterns cut where Oniguruma cuts, also where PCRE2 reads them otherwise") {
  const auto document =
      nlohmann::json::parse(read_file(golden_path("split_patterns.expected.json")));
  const auto texts = document.at("texts").get<std::vector<std::string>>();
  REQUIRE(document.at("cases").size() > 100);
  for (const auto& golden : document.at("cases")) {
    const std::string expression = golden.at("pattern");
    CAPTURE(expression);
    const detail::SplitPattern pattern(expression);
    detail::Splitter splitter(pattern);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(texts[i]);
      std::vector<std::size_t> pieces;
      splitter.split(texts[i], [&](std::string_view piece) { pieces.push_back(piece.size()); });
      CHECK(pieces == golden.at("pieces").at(i).get<std::vector<std::size_t>>());
    }
  }
}

}  // namespace train::test
