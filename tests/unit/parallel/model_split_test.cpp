#include "libtrain/parallel/model_split.hpp"

#include <doctest/doctest.h>

using namespace train;

namespace {

// Every query head is computed once, beside the key/value head that it reads.
void check_heads(std::int64_t heads, std::int64_t kv_heads, int ranks) {
  CAPTURE(heads);
  CAPTURE(kv_heads);
  CAPTURE(ranks);
  const auto parts = split_heads(heads, kv_heads, ranks);
  REQUIRE(parts.size() == static_cast<std::size_t>(ranks));
  std::int64_t next = 0;
  for (const HeadRange& part : parts) {
    CHECK(part.first_head == next);
    next += part.heads;
    CHECK((part.heads == 0) == (part.kv_heads == 0));
    if (part.heads == 0) continue;
    const std::int64_t group = heads / kv_heads;
    CHECK(part.heads % part.kv_heads == 0);
    for (std::int64_t i = 0; i < part.heads; ++i) {
      CHECK(part.first_kv_head + i / (part.heads / part.kv_heads) == (part.first_head + i) / group);
    }
  }
  CHECK(next == heads);
}

}  // namespace

TEST_CASE("heads are dealt out whole, with their key/value heads") {
  for (const std::int64_t kv_heads : {1, 2, 3, 4, 8}) {
    for (const std::int64_t group : {1, 2, 3, 4}) {
      for (int ranks = 1; ranks <= 9; ++ranks) check_heads(kv_heads * group, kv_heads, ranks);
    }
  }
}

TEST_CASE("neighbours share a key/value head when there are fewer than ranks") {
  const auto parts = split_heads(8, 2, 4);
  CHECK(parts[0].first_kv_head == 0);
  CHECK(parts[1].first_kv_head == 0);
  CHECK(parts[2].first_kv_head == 1);
  CHECK(parts[3].heads == 2);
}

TEST_CASE("ranges differ by one at most and the first ones are larger") {
  const auto ranges = even_ranges(11, 4);
  const std::int64_t counts[] = {3, 3, 3, 2};
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(ranges[i].begin == begin);
    CHECK(ranges[i].count == counts[i]);
    begin += counts[i];
  }
}
