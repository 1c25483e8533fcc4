#include "libtrain/tensor/philox.hpp"

#include <set>

#include <doctest/doctest.h>

namespace train {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers that the authors of Random123 publish with it, for 10 rounds.
TEST_CASE("philox gives the published numbers") {
  CHECK(Philox::block(0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  CHECK(Philox::block(ones, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // Digits of pi: counter words 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0.
  CHECK(Philox::block(0x299f31d0'a4093822, 0x03707344'13198a2e, 0x85a308d3'243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("streams are named by seed and purpose") {
  std::set<std::uint64_t> keys;
  for (const std::uint64_t seed : {0u, 1u, 2u}) {
    for (const char* purpose : {"", "a", "b", "ab", "ba", "layer 1", "layer 10"}) {
      keys.insert(Philox(seed, purpose).key());
      CHECK(Philox(seed, purpose).key() == Philox(seed, purpose).key());
    }
  }
  CHECK(keys.size() == 21);
  const Philox philox(5, "dropout");
  CHECK(philox(3, 9) == Philox::block(philox.key(), 3, 9));
}

TEST_CASE("uniform numbers lie above 0 and not above 1") {
  CHECK(uniform_from_bits(0) == 0x1p-24f);
  CHECK(uniform_from_bits(~0u) == 1.0f);
  double sum = 0.0;
  for (std::uint64_t i = 0; i < 10000; ++i) sum += uniform_from_bits(Philox(1)(0, i)[i % 4]);
  CHECK(sum / 10000 == doctest::Approx(0.5).epsilon(0.03));  // 10 standard deviations
}

}  // namespace
}  // namespace train
