#include "libtrain/checkpoint/storage_plan.hpp"

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/block_copy.hpp"
#include "tests/ranked/random_layouts.hpp"

using namespace train;

namespace {

bool within(const Block& block, const Block& home) {
  return intersection(block, home) == block;
}

// How often each element is stored; -1 where a block is not within that of its rank.
std::vector<int> times_stored(const Layout& layout, const std::vector<StorageBlock>& stored) {
  std::vector<int> times(static_cast<std::size_t>(layout.shape().elements()));
  for (const StorageBlock& block : stored) {
    const bool held = within(block.block, layout.blocks(block.rank)[block.within]);
    for_each_run(layout.shape(), block.block, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        times[static_cast<std::size_t>(i)] += held ? 1 : -1000;
      }
    });
  }
  return times;
}

}  // namespace

TEST_CASE("every element is stored once, by a rank that holds it, whatever the layout") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    RandomLayouts random(seed, 1 + static_cast<int>(seed % 5));
    const Layout layout = random.layout(random.shape());
    const auto times = times_stored(layout, plan_storage(layout, 4, seed));
    CHECK(std::ranges::count(times, 1) == layout.shape().elements());
  }
}

TEST_CASE("what several ranks hold is cut among them when it is large, and goes by turns if not") {
  const Layout large = Layout::replicated({1000, 1000}, 4);
  std::vector<std::int64_t> elements(4);
  for (const StorageBlock& stored : plan_storage(large, 4, 1)) {
    elements[static_cast<std::size_t>(stored.rank)] += stored.block.elements();
  }
  for (const std::int64_t count : elements) CHECK(count == 250'000);
  for (std::size_t turn = 0; turn < 8; ++turn) {
    const auto stored = plan_storage(Layout::replicated({10}, 4), 4, turn);
    REQUIRE(stored.size() == 1);
    CHECK(stored[0].rank == static_cast<int>(turn % 4));
  }
}

TEST_CASE("a tensor that no ranks hold in whole is refused") {
  CHECK_THROWS_AS(plan_storage(Layout({4}, {{{{0}, {2}}}, {{{1}, {2}}}}), 4, 0), Error);
  CHECK(plan_storage(Layout({0, 3}, {{}, {}}), 4, 0).empty());
  CHECK(plan_storage(Layout::replicated({}, 2), 4, 1).size() == 1);
}
