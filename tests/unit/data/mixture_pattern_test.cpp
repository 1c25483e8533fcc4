#include "libtrain/data/mixture_pattern.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train::test {
namespace {

/// Of very different sizes, now and then equal.
std::vector<double> random_weights(std::mt19937_64& random) {
  std::vector<double> weights(1 + random() % 12);
  const double spread = static_cast<double>(random() % 20);
  std::uniform_real_distribution<double> exponent(-spread / 2, spread / 2);
  for (double& weight : weights) weight = std::exp(exponent(random));
  return weights;
}

std::uint64_t random_position(std::mt19937_64& random) {
  return random() >> (14 + random() % 50);
}

}  // namespace

TEST_CASE("every window of a mixture holds each source's share, give or take less than four") {
  double worst = 0.0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::vector<double> weights = random_weights(random);
    const MixturePattern pattern(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (int trial = 0; trial < 100; ++trial) {
      const std::uint64_t begin = random_position(random);
      const std::uint64_t size = random() >> (32 + random() % 32);
      CAPTURE(begin);
      CAPTURE(size);
      std::uint64_t total = 0;
      for (std::size_t source = 0; source < weights.size(); ++source) {
        const std::uint64_t found =
            pattern.count(source, begin + size) - pattern.count(source, begin);
        const double expected = weights[source] / sum * static_cast<double>(size);
        const double error = std::abs(static_cast<double>(found) - expected);
        REQUIRE(error < 4.0 + static_cast<double>(size) / (1ull << 31));
        worst = std::max(worst, error);
        total += found;
      }
      REQUIRE(total == size);
    }
  }
  CAPTURE(worst);
  CHECK(worst > 0.9);  // as near as whole samples come: the test sees errors
}

TEST_CASE("the bound holds where weights fall slowest from node to node") {
  for (const double ratio : {0.5, 0.6180339887498949, 2.0 / 3, 0.8, 1.0}) {
    CAPTURE(ratio);
    std::vector<double> weights;
    for (int i = 0; i < 30; ++i) weights.push_back(std::pow(ratio, i));
    const MixturePattern pattern(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t source = 0; source < weights.size(); ++source) {
      double least = 0.0, most = 0.0;  // of what counts are above their share, over all prefixes
      for (std::uint64_t end = 0; end < 20'000; ++end) {
        const double above = static_cast<double>(pattern.count(source, end)) -
                             weights[source] / sum * static_cast<double>(end);
        least = std::min(least, above);
        most = std::max(most, above);
      }
      REQUIRE(most - least < 4.0);
    }
  }
}

TEST_CASE("positions of a source are counted one by one, from any place on") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const MixturePattern pattern(random_weights(random));
    const std::uint64_t begin = seed % 2 == 0 ? 0 : random_position(random);
    std::vector<std::uint64_t> next;
    for (std::size_t source = 0; source < pattern.sources(); ++source) {
      next.push_back(pattern.count(source, begin));
    }
    for (std::uint64_t position = begin; position < begin + 500; ++position) {
      const auto [source, index] = pattern.at(position);
      REQUIRE(source < pattern.sources());
      REQUIRE(index == next[source]++);
      REQUIRE(pattern.count(source, position + 1) == index + 1);
    }
  }
}

TEST_CASE("one source has all positions") {
  const MixturePattern pattern({0.3});
  for (const std::uint64_t position : {0ull, 1ull, 77ull, 1ull << 40, (1ull << 63) + 5}) {
    CHECK(pattern.at(position).source == 0);
    CHECK(pattern.at(position).index == position);
    CHECK(pattern.count(0, position) == position);
  }
}

TEST_CASE("weights are parts of their sum, and the pattern is the same for ever") {
  const auto pattern_of = [](const std::vector<double>& weights) {
    const MixturePattern pattern(weights);
    std::string letters;
    for (std::uint64_t i = 0; i < 20; ++i) letters += static_cast<char>('a' + pattern.at(i).source);
    return letters;
  };
  CHECK(pattern_of({7, 3}) == "aaabaabaaabaabaabaaa");
  CHECK(pattern_of({0.7, 0.3}) == pattern_of({7, 3}));
  CHECK(pattern_of({7e307, 3e307}) == pattern_of({7, 3}));
  CHECK(pattern_of({1, 1, 2}) == "bcacbcacbcacbcacbcac");
  CHECK(pattern_of({0.5, 0.3, 0.2}) == pattern_of({5, 3, 2}));
}

TEST_CASE("weights that are none are refused") {
  const auto refusal = [](const std::vector<double>& weights) {
    return message_of<Error>([&] { MixturePattern refused(weights); });
  };
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double weight : {0.0, -1.0, infinity, std::nan("")}) {
    CAPTURE(weight);
    CHECK(refusal({1.0, weight, 2.0}).find("source 2") != std::string::npos);
  }
  CHECK(refusal({1.0, 1e-10}).find("four billion") != std::string::npos);
  CHECK(refusal({1.0, 1e-9}).empty());
}

}  // namespace train::test
