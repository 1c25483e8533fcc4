#include "collectives/ordered/reduce.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace train {
namespace {

template <typename T>
std::vector<const std::byte*> pointers(const std::vector<std::vector<T>>& sources) {
  std::vector<const std::byte*> result;
  for (const auto& source : sources) {
    result.push_back(reinterpret_cast<const std::byte*>(source.data()));
  }
  return result;
}

template <typename T>
std::vector<T> reduced(ReduceOp op, const std::vector<std::vector<T>>& sources) {
  std::vector<T> result(sources[0].size());
  detail::reduce(data_type_of<T>, op, pointers(sources),
                 reinterpret_cast<std::byte*>(result.data()), result.size());
  return result;
}

}  // namespace

TEST_CASE("f32 sums are made from the left, bit for bit") {
  const unsigned seed = 11;
  INFO("seed ", seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1e4f);
  for (const std::size_t ranks : {1, 2, 3, 8}) {
    for (const std::size_t count : {0, 1, 2047, 2048, 2049, 6001}) {
      std::vector<std::vector<float>> sources(ranks, std::vector<float>(count));
      for (auto& source : sources) {
        for (auto& value : source) value = normal(random);
      }
      auto expected = sources[0];
      for (std::size_t s = 1; s < ranks; ++s) {
        for (std::size_t i = 0; i < count; ++i) expected[i] += sources[s][i];
      }
      CHECK(reduced(ReduceOp::sum, sources) == expected);
    }
  }
}

TEST_CASE("the destination may be any one of the sources") {
  for (std::size_t target = 0; target < 3; ++target) {
    std::vector<std::vector<std::int64_t>> sources(3);
    for (std::int64_t s = 0; s < 3; ++s) sources[static_cast<std::size_t>(s)].assign(5000, s + 1);
    detail::reduce(DataType::i64, ReduceOp::sum, pointers(sources),
                   reinterpret_cast<std::byte*>(sources[target].data()), 5000);
    CHECK(sources[target] == std::vector<std::int64_t>(5000, 6));
  }
}

TEST_CASE("bf16 adds in f32 and rounds once, ties to even") {
  const auto bf16 = [](float value) { return std::vector<BFloat16>{BFloat16(value)}; };
  const auto sum = reduced<BFloat16>(ReduceOp::sum, {bf16(256), bf16(1), bf16(1), bf16(1)});
  CHECK(static_cast<float>(sum[0]) == 260.0f);  // 259 lies between 258 and 260
  const auto least = reduced<BFloat16>(ReduceOp::min, {bf16(3), bf16(-7), bf16(2)});
  CHECK(static_cast<float>(least[0]) == -7.0f);
}

TEST_CASE("integers wrap, extremes are kept") {
  const auto most = std::numeric_limits<std::int32_t>::max();
  CHECK(reduced<std::int32_t>(ReduceOp::sum, {{most}, {1}})[0] ==
        std::numeric_limits<std::int32_t>::min());
  CHECK(reduced<std::uint8_t>(ReduceOp::sum, {{200}, {100}})[0] == 44);
  CHECK(reduced<std::uint8_t>(ReduceOp::max, {{200}, {100}})[0] == 200);
  const auto low = std::numeric_limits<float>::lowest();
  CHECK(reduced<float>(ReduceOp::max, {{low}, {low}})[0] == low);
}

TEST_CASE("NaN wins wherever it stands") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto op : {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
    CHECK(std::isnan(reduced<float>(op, {{nan}, {1}, {2}})[0]));
    CHECK(std::isnan(reduced<float>(op, {{1}, {nan}, {2}})[0]));
    CHECK(std::isnan(reduced<float>(op, {{1}, {2}, {nan}})[0]));
  }
}

}  // namespace train
