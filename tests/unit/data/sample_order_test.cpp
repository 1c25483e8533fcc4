#include "libtrain/data/sample_order.hpp"

#include <array>
#include <map>
#include <vector>

#include <doctest/doctest.h>

namespace train::test {
namespace {

std::vector<std::uint64_t> all_of(const SampleOrder& order) {
  std::vector<std::uint64_t> samples;
  for (std::uint64_t position = 0; position < order.size(); ++position) {
    samples.push_back(order(position));
  }
  return samples;
}

bool is_permutation(const SampleOrder& order) {
  std::vector<bool> seen(order.size());
  for (const std::uint64_t sample : all_of(order)) {
    if (sample >= order.size() || seen[sample]) return false;
    seen[sample] = true;
  }
  return true;
}

}  // namespace

TEST_CASE("an order visits every sample exactly once") {
  for (std::uint64_t size = 1; size <= 300; ++size) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      CAPTURE(size);
      CAPTURE(seed);
      CHECK(is_permutation(SampleOrder(size, seed, size % 7)));
    }
  }
  for (const std::uint64_t size : {4095u, 4096u, 4097u, 65537u, 1'000'003u}) {
    CAPTURE(size);
    CHECK(is_permutation(SampleOrder(size, 1234, 0)));
  }
}

TEST_CASE("a huge order stays within its size and does not repeat") {
  for (const std::uint64_t size : {(1ull << 40) + 1, (1ull << 62) + 12345, 1ull << 63}) {
    CAPTURE(size);
    const SampleOrder order(size, 5, 9);
    std::map<std::uint64_t, std::uint64_t> position_of;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
      const std::uint64_t position = i < 10'000 ? i : size - 1 - (i - 10'000);
      const std::uint64_t sample = order(position);
      REQUIRE(sample < size);
      REQUIRE(position_of.emplace(sample, position).second);
    }
  }
}

TEST_CASE("epochs and seeds have orders of their own, the same whenever they are asked for") {
  const auto base = all_of(SampleOrder(1000, 1, 0));
  CHECK(base == all_of(SampleOrder(1000, 1, 0)));
  for (const auto& other :
       {SampleOrder(1000, 1, 1), SampleOrder(1000, 2, 0), SampleOrder(1000, 0, 1)}) {
    int same_place = 0;
    for (std::uint64_t i = 0; i < 1000; ++i) same_place += other(i) == base[i];
    CHECK(same_place < 12);  // one is expected of chance
  }
}

TEST_CASE("samples are spread evenly over positions") {
  constexpr int kSize = 8;
  constexpr int kEpochs = 8000;
  std::array<std::array<int, kSize>, kSize> times{};
  for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const SampleOrder order(kSize, 42, epoch);
    for (std::uint64_t i = 0; i < kSize; ++i) ++times[i][order(i)];
  }
  double chi_square = 0;  // of 49 degrees of freedom: 0.9999 lies at 95
  for (const auto& row : times) {
    for (const int count : row) {
      const double excess = count - kEpochs / kSize;
      chi_square += excess * excess / (kEpochs / kSize);
    }
  }
  CHECK(chi_square < 95);
}

TEST_CASE("three samples come in all six orders") {
  std::map<std::vector<std::uint64_t>, int> seen;
  for (std::uint64_t epoch = 0; epoch < 600; ++epoch) ++seen[all_of(SampleOrder(3, 7, epoch))];
  CHECK(seen.size() == 6);
  for (const auto& [order, count] : seen) CHECK(count > 60);
}

}  // namespace train::test
