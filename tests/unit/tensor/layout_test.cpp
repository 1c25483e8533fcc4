#include "libtrain/tensor/layout.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"

namespace train {
namespace {

using Index = std::array<std::int64_t, Shape::max_rank>;

// The indices of a block's elements, in the order in which it is kept.
std::vector<Index> indices_of(const Block& block) {
  std::vector<Index> indices;
  for (std::int64_t i = 0; i < block.elements(); ++i) {
    Index index{};
    std::int64_t rest = i;
    for (int d = block.extent.rank(); d-- > 0;) {
      index[d] = block.offset[d] + rest % block.extent[d];
      rest /= block.extent[d];
    }
    indices.push_back(index);
  }
  return indices;
}

std::vector<Index> indices_of(std::span<const Block> blocks) {
  std::vector<Index> indices;
  for (const Block& block : blocks) {
    const auto of_block = indices_of(block);
    indices.insert(indices.end(), of_block.begin(), of_block.end());
  }
  return indices;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  // From least to most, both possible.
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(engine_);
  }
  Shape shape(int rank) {
    std::vector<std::int64_t> extents;
    for (int i = 0; i < rank; ++i) extents.push_back(between(0, 9) == 0 ? 0 : between(1, 6));
    return Shape(std::span<const std::int64_t>(extents));
  }
  Block block(const Shape& shape) {
    Block block;
    std::vector<std::int64_t> extents;
    for (int i = 0; i < shape.rank(); ++i) {
      block.offset[i] = between(0, shape[i]);
      extents.push_back(between(0, shape[i] - block.offset[i]));
    }
    block.extent = Shape(std::span<const std::int64_t>(extents));
    return block;
  }

 private:
  std::mt19937 engine_;
};

constexpr unsigned seeds = 400;

}  // namespace

TEST_CASE("a block knows its name and size") {
  const Block block{{0, 8}, {4, 8}};
  CHECK(block.to_string() == "[0:4, 8:16]");
  CHECK(block.elements() == 32);
  CHECK(whole_block({2, 3}) == Block{{}, {2, 3}});
  CHECK(whole_block({}).to_string() == "[]");
}

TEST_CASE("an intersection holds what both blocks hold") {
  for (unsigned seed = 0; seed < seeds; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const Shape shape = random.shape(static_cast<int>(seed % 5));
    const Block a = random.block(shape);
    const Block b = random.block(shape);
    const auto in_b = indices_of(b);
    std::vector<Index> expected;
    for (const Index& index : indices_of(a)) {
      if (std::ranges::find(in_b, index) != in_b.end()) expected.push_back(index);
    }
    CHECK(indices_of(intersection(a, b)) == expected);
    CHECK(intersection(a, b).elements() == intersection(b, a).elements());
  }
}

TEST_CASE("a flat range is that stretch of the rank's memory, in few blocks") {
  for (unsigned seed = 0; seed < seeds; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const int rank = static_cast<int>(seed % 5);
    const Shape shape = random.shape(rank);
    std::vector<Block> blocks;
    for (std::int64_t i = random.between(0, 3); i > 0; --i) blocks.push_back(random.block(shape));
    const auto all = indices_of(std::span<const Block>(blocks));
    const auto begin = random.between(0, std::ssize(all));
    const auto end = random.between(begin, std::ssize(all));
    const auto pieces = flat_range(blocks, begin, end);
    CHECK(indices_of(std::span<const Block>(pieces)) ==
          std::vector<Index>(all.begin() + begin, all.begin() + end));
    CHECK(pieces.size() <= blocks.size() * static_cast<std::size_t>(std::max(1, 2 * rank - 1)));
    for (const Block& piece : pieces) CHECK(piece.elements() > 0);
  }
}

TEST_CASE("a flat range takes whole blocks as they are, and nothing beyond the end") {
  const std::vector<Block> blocks{whole_block({2, 3}), {{1, 0}, {1, 3}}};
  CHECK(flat_range(blocks, 0, 9) == blocks);
  CHECK(flat_range(blocks, 0, 100) == blocks);
  CHECK(flat_range(blocks, 4, 4).empty());
  CHECK(flat_range({}, 0, 4).empty());
}

TEST_CASE("split, replicated and on_rank say who holds what") {
  const Layout split = Layout::split({5, 4}, 0, std::vector<std::int64_t>{2, 0, 3});
  CHECK(split.ranks() == 3);
  CHECK(split.blocks(2)[0] == Block{{2, 0}, {3, 4}});
  CHECK(split.local_elements(1) == 0);
  CHECK(split.local_shape(1) == Shape{0, 4});
  CHECK(split.local_shape(2) == Shape{3, 4});

  const Layout columns = Layout::split({2, 3, 4}, 2, std::vector<std::int64_t>{1, 3});
  CHECK(columns.blocks(1)[0] == Block{{0, 0, 1}, {2, 3, 3}});

  const Layout everywhere = Layout::replicated({5, 4}, 2);
  CHECK(everywhere.local_shape(1) == Shape{5, 4});
  CHECK(everywhere.owner(whole_block({5, 4})) == 0);
  CHECK(everywhere.owner({{}, {5, 3}}) == -1);

  const Layout alone = Layout::on_rank({5, 4}, 3, 1);
  CHECK(alone.blocks(0).empty());
  CHECK(alone.owner(whole_block({5, 4})) == 1);
  CHECK(alone == Layout({5, 4}, {{}, {whole_block({5, 4})}, {}}));
  CHECK(alone != Layout::on_rank({5, 4}, 3, 2));
}

TEST_CASE("a rank's shape: blocks stack along the first dimension when the others agree") {
  const Block top{{0, 0}, {2, 4}};
  const Block bottom{{5, 0}, {1, 4}};
  const Block narrow{{2, 0}, {1, 3}};
  const Layout layout({6, 4}, {{top, bottom}, {top, narrow}, {}, {narrow}});
  CHECK(layout.local_shape(0) == Shape{3, 4});
  CHECK(layout.local_shape(1) == Shape{11});
  CHECK(layout.local_shape(2) == Shape{0, 4});
  CHECK(layout.local_shape(3) == Shape{1, 3});
}

TEST_CASE("a rank's shape has as many elements as the rank keeps") {
  for (unsigned seed = 0; seed < seeds; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const Shape shape = random.shape(static_cast<int>(seed % 5));
    std::vector<Block> blocks;
    for (std::int64_t i = random.between(0, 3); i > 0; --i) blocks.push_back(random.block(shape));
    const Layout layout(shape, {blocks});
    CHECK(layout.local_shape(0).elements() == layout.local_elements(0));
    CHECK(std::ssize(indices_of(layout.blocks(0))) == layout.local_elements(0));
  }
}

TEST_CASE("owned ranges count every element of the tensor once") {
  for (unsigned seed = 0; seed < seeds; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const Shape shape = random.shape(static_cast<int>(seed % 5));
    // Blocks that cover the tensor and are apart; some on several ranks, or twice on one.
    const Block whole = whole_block(shape);
    std::vector<Block> parts;
    for (std::int64_t begin = 0; begin < shape.elements();) {
      const auto end = random.between(begin + 1, shape.elements());
      const auto pieces = flat_range(std::span(&whole, 1), begin, end);
      parts.insert(parts.end(), pieces.begin(), pieces.end());
      begin = end;
    }
    std::vector<std::vector<Block>> blocks(4);
    for (const Block& part : parts) {
      for (std::int64_t copies = random.between(1, 3); copies > 0; --copies) {
        blocks[static_cast<std::size_t>(random.between(0, 3))].push_back(part);
      }
    }
    const Layout layout(shape, blocks);
    std::multiset<Index> counted;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const auto kept = indices_of(layout.blocks(rank));
      for (const auto& [begin, end] : layout.owned_ranges(rank)) {
        CHECK(begin < end);
        counted.insert(kept.begin() + begin, kept.begin() + end);
      }
    }
    const auto all = indices_of(whole);
    CHECK(counted == std::multiset<Index>(all.begin(), all.end()));
  }
}

TEST_CASE("blocks outside the tensor are refused by name") {
  const auto refused = [](const Shape& shape, const Block& block) {
    CHECK_THROWS_WITH_AS(
        Layout(shape, {{block}}),
        ("a layout's block " + block.to_string() + " is not within the tensor " + shape.to_string())
            .c_str(),
        Error);
  };
  refused({4, 4}, {{0, 1}, {4, 4}});
  refused({4, 4}, {{-1, 0}, {2, 4}});
  refused({4, 4}, {{2, 0}, {-1, 4}});
  refused({4, 4}, {{0}, {4}});
  CHECK_THROWS_AS(Layout::split({4}, 0, std::vector<std::int64_t>{5, -1}), Error);
  CHECK_NOTHROW(Layout({4, 4}, {{Block{{4, 4}, {0, 0}}}}));
}

}  // namespace train
