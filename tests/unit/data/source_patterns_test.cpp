#include "libtrain/data/source_patterns.hpp"

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Words = std::vector<std::string>;

std::string refusal(const Words& words) {
  return message_of<Error>([&] { split_sources(words); });
}

}  // namespace

TEST_CASE("patterns without weights are one source") {
  const auto sources = split_sources({"a.bin", "b/*.bin", "./weight=0.7"});
  REQUIRE(sources.size() == 1);
  CHECK(sources[0].weight == 1.0);
  CHECK(sources[0].patterns == Words{"a.bin", "b/*.bin", "./weight=0.7"});
  CHECK(split_sources({}).empty());
}

TEST_CASE("a weight begins a source that all patterns behind it belong to") {
  const auto sources =
      split_sources({"weight=7,name=web-2", "a.bin", "b.bin", "weight=2.5e-1", "code/**/*.txt"});
  REQUIRE(sources.size() == 2);
  CHECK(sources[0].name == "web-2");
  CHECK(sources[0].weight == 7.0);
  CHECK(sources[0].patterns == Words{"a.bin", "b.bin"});
  CHECK(sources[1].name == "2");
  CHECK(sources[1].weight == 0.25);
  CHECK(sources[1].patterns == Words{"code/**/*.txt"});
}

TEST_CASE("weights that are none are refused by the word") {
  for (const char* word : {"weight=", "weight=x", "weight=0,7", "weight=0.7web", "weight= 1",
                           "weight=1e999", "weight=1,nam=a", "weight=1,name=", "weight=1,name=a b",
                           "weight=1,name=a,name=b", "weight=+1"}) {
    CAPTURE(word);
    CHECK(contains(refusal({word, "a.bin"}), std::string("'") + word + "' is no weight"));
  }
  for (const char* word : {"weight=0", "weight=-0.5", "weight=inf", "weight=nan", "weight=-0"}) {
    CAPTURE(word);
    CHECK(
        contains(refusal({word, "a.bin"}), std::string("'") + word + "': a weight is a positive"));
  }
}

TEST_CASE("weights without files, files without weights and names used twice are refused") {
  CHECK(contains(refusal({"weight=0.7"}), "weight 0.7 has no files"));
  CHECK(contains(refusal({"weight=0.7", "a.bin", "weight=0.25"}), "weight 0.25 has no files"));
  CHECK(contains(refusal({"weight=0.7", "weight=0.3", "a.bin"}), "weight 0.7 has no files"));
  CHECK(contains(refusal({"a.bin", "weight=0.3", "b.bin"}), "'a.bin' has no weight"));
  CHECK(contains(refusal({"weight=1,name=w", "a", "weight=1,name=w", "b"}), "called w"));
  CHECK(contains(refusal({"weight=1,name=2", "a", "weight=1", "b"}), "called 2"));
}

TEST_CASE("weights as others write them are told how they are written here") {
  CHECK(contains(refusal({"0.7", "a.bin", "0.3", "b.bin"}), "is written weight=0.7"));
}

}  // namespace train::test
