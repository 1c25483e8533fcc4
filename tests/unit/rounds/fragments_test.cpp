#include "libtrain/rounds/fragments.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/rounds/lane_layout.hpp"

using namespace train;

namespace {

LogicalTensor tensor(const std::string& name, std::int64_t rows, std::int64_t columns) {
  const Shape shape{rows, columns};
  return {name, DataType::f32, Layout(shape, {{whole_block(shape)}}), {}};
}

// GPT-2's shape: a large embedding, blocks of several tensors, a small norm.
std::vector<LogicalTensor> model_of(int blocks) {
  std::vector<LogicalTensor> tensors{tensor("token_embedding.weight", 500, 16)};
  for (int i = 0; i < blocks; ++i) {
    const std::string block = std::string("blocks.") + std::to_string(i);
    tensors.push_back(tensor(block + ".attention.qkv.weight", 48, 16));
    tensors.push_back(tensor(block + ".mlp.up.weight", 64, 16));
  }
  tensors.push_back(tensor("final_norm.weight", 1, 16));
  return tensors;
}

std::int64_t elements(std::span<const LogicalTensor> tensors) {
  return std::accumulate(
      tensors.begin(), tensors.end(), std::int64_t{0},
      [](std::int64_t sum, const auto& one) { return sum + one.layout.shape().elements(); });
}

}  // namespace

TEST_CASE("fragments hold every tensor once, blocks whole, and are about as large as each other") {
  const std::vector<LogicalTensor> model = model_of(12);
  for (const int count : {1, 2, 3, 4, 8, 14}) {
    CAPTURE(count);
    const Fragments fragments(model, count);
    REQUIRE(fragments.count() == count);
    const std::vector<LogicalTensor> ordered = fragments.in_order(model);
    REQUIRE(ordered.size() == model.size());
    std::map<std::string, int> fragment_of_block;
    std::size_t next = 0;
    std::int64_t largest = 0;
    for (int i = 0; i < count; ++i) {
      const TensorRange range = fragments.tensors({i, i + 1});
      CHECK(range.begin == next);
      CHECK(range.count() > 0);
      next = range.end;
      const auto inside = std::span(ordered).subspan(range.begin, range.count());
      largest = std::max(largest, elements(inside));
      for (const LogicalTensor& one : inside) {
        if (!one.name.starts_with("blocks.")) continue;
        const std::string block = one.name.substr(0, one.name.find('.', 7));
        CHECK(fragment_of_block.try_emplace(block, i).first->second == i);
      }
    }
    CHECK(next == model.size());
    // At most one block above an even share, or the embedding alone.
    CHECK(largest <= std::max<std::int64_t>(500 * 16, elements(model) / count + 112 * 16));
    if (count == 1) CHECK(ordered[5].name == model[5].name);
  }
}

TEST_CASE("blocks of one depth go to different fragments") {
  const std::vector<LogicalTensor> model = model_of(12);
  const Fragments fragments(model, 3);
  const std::vector<LogicalTensor> ordered = fragments.in_order(model);
  const auto fragment_of = [&](const std::string& block) {
    const auto at = static_cast<std::size_t>(
        std::ranges::find(ordered, block + ".mlp.up.weight", &LogicalTensor::name) -
        ordered.begin());
    for (int i = 0;; ++i) {
      if (at < fragments.tensors({i, i + 1}).end) return i;
    }
  };
  CHECK(fragment_of("blocks.0") != fragment_of("blocks.1"));
  CHECK(fragment_of("blocks.2") != fragment_of("blocks.3"));
  CHECK(fragment_of("blocks.1") != fragment_of("blocks.2"));
}

TEST_CASE("more fragments than a model has parts are refused") {
  CHECK_THROWS_WITH_AS(Fragments(model_of(2), 5),
                       doctest::Contains("--fragments is 5; this model has 4 parts"), Error);
  CHECK_THROWS_AS(Fragments(model_of(2), 0), Error);
}

TEST_CASE("lanes share each fragment evenly, and hold every value once") {
  const std::vector<LogicalTensor> model = model_of(5);
  const Fragments fragments(model, 3);
  const std::vector<LogicalTensor> ordered = fragments.in_order(model);
  for (const int lanes : {1, 2, 3}) {
    const LaneLayout layout(ordered, fragments, 3, lanes);
    for (int fragment = 0; fragment < 3; ++fragment) {
      const TensorRange range = fragments.tensors({fragment, fragment + 1});
      std::size_t total = 0;
      for (int lane = 0; lane < lanes; ++lane) {
        std::size_t held = 0;
        for (std::size_t i = range.begin; i < range.end; ++i) {
          CHECK(layout.offset(i, layout.rank_of(lane)) == held);
          held += static_cast<std::size_t>(layout.layout(i).local_elements(layout.rank_of(lane)));
        }
        CHECK(held == layout.count(fragment, lane));
        total += held;
      }
      const auto all = elements(std::span(ordered).subspan(range.begin, range.count()));
      CHECK(total == static_cast<std::size_t>(all));
      for (int lane = 0; lane < lanes; ++lane) {
        CHECK(static_cast<double>(layout.count(fragment, lane)) ==
              doctest::Approx(static_cast<double>(total) / lanes).epsilon(256.0 * lanes / 1000));
      }
    }
  }
}
