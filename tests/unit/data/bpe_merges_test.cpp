#include "libtrain/data/tokenizers/bpe_merges.hpp"

#include <random>

#include <doctest/doctest.h>

namespace train::test {
namespace {

using Symbols = std::vector<std::int32_t>;

/// The definition: look for the strongest merge anywhere, apply its leftmost place, look again.
Symbols merge_slowly(const detail::BpeMerges& merges, Symbols symbols) {
  while (true) {
    std::size_t best_rank = merges.in_order().size();
    std::size_t best_at = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at) {
      for (std::size_t rank = 0; rank < best_rank; ++rank) {
        const auto& merge = merges.in_order()[rank];
        if (merge.left != symbols[at] || merge.right != symbols[at + 1]) continue;
        best_rank = rank;
        best_at = at;
        break;
      }
    }
    if (best_rank == merges.in_order().size()) return symbols;
    symbols[best_at] = merges.in_order()[best_rank].merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

Symbols merged(const detail::BpeMerges& merges, Symbols symbols) {
  merges.apply(symbols);
  return symbols;
}

}  // namespace

TEST_CASE("the strongest merge goes first, the leftmost of equals") {
  detail::BpeMerges merges;
  CHECK(merges.add({1, 1, 10}));
  CHECK(merges.add({2, 3, 11}));
  CHECK(merges.add({1, 2, 12}));
  CHECK(merges.add({10, 11, 13}));
  CHECK_FALSE(merges.add({1, 1, 99}));
  CHECK(merged(merges, {1, 1, 1}) == Symbols{10, 1});
  CHECK(merged(merges, {1, 2, 3}) == Symbols{1, 11});
  CHECK(merged(merges, {1, 1, 2, 3}) == Symbols{13});
  CHECK(merged(merges, {1, 2}) == Symbols{12});
  CHECK(merged(merges, {}) == Symbols{});
  CHECK(merged(merges, {7}) == Symbols{7});
}

TEST_CASE("merging by heap equals the definition for any table, even a nonsensical one") {
  const unsigned seed = 77;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int run = 0; run < 400; ++run) {
    detail::BpeMerges merges;
    const auto symbol = [&](unsigned below) { return static_cast<std::int32_t>(random() % below); };
    for (int i = 0; i < 12; ++i) merges.add({symbol(7), symbol(7), symbol(9)});
    Symbols symbols;
    for (unsigned i = random() % 40; i > 0; --i) symbols.push_back(symbol(5));
    REQUIRE(merged(merges, symbols) == merge_slowly(merges, symbols));
  }
}

TEST_CASE("a piece of a million symbols is merged at once") {
  detail::BpeMerges merges;
  for (std::int32_t i = 0; i < 12; ++i) merges.add({i, i, i + 1});
  Symbols symbols(1 << 20, 0);
  merges.apply(symbols);
  CHECK(symbols == Symbols(1 << 8, 12));
}

}  // namespace train::test
