#include "collectives/wide/codec/codec.hpp"

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/collectives/codec_reference.hpp"

namespace train::wide {
namespace {

std::uint64_t fnv1a(const Bytes& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return hash;
}

Bytes bytes_of(std::initializer_list<int> list) {
  Bytes bytes;
  for (const int byte : list) bytes.push_back(static_cast<std::byte>(byte));
  return bytes;
}

}  // namespace

TEST_CASE("codecs are called by name") {
  for (const Codec codec : all_codecs) CHECK(codec_of(name_of(codec)) == codec);
  for (const char* name : {"", "int", "int16", "INT8", "int8 "})
    CHECK_THROWS_AS(codec_of(name), Error);
  CHECK_THROWS_WITH(codec_of("fp8"), "codec 'fp8': unknown; choose none, bf16, int8 or int4");
}

TEST_CASE("every count of values encodes to the bytes of the reference, of the stated size") {
  const unsigned seed = 3;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (std::size_t count = 0; count <= 600; ++count) {
    const Floats values = normal_values(random, count);
    for (const Codec codec : all_codecs) {
      CAPTURE(count);
      CAPTURE(std::string(name_of(codec)));
      const std::size_t scales = 4 * ((count + 255) / 256);
      const std::size_t size = codec == Codec::none   ? 4 * count
                               : codec == Codec::bf16 ? 2 * count
                               : codec == Codec::int8 ? count + scales
                                                      : (count + 1) / 2 + scales;
      REQUIRE(encoded_bytes(codec, count) == size);
      Bytes bytes(size + 8, std::byte{0xa5});  // the last 8 stay
      encode(codec, values, std::span(bytes).first(size));
      const Reference expected = reference(codec, values);
      REQUIRE(Bytes(bytes.begin(), bytes.end() - 8) == expected.bytes);
      REQUIRE(Bytes(bytes.end() - 8, bytes.end()) == Bytes(8, std::byte{0xa5}));

      Floats restored(count + 2, 9.0f);
      const auto payload = std::span(bytes).first(size);
      decode(codec, payload, std::span(restored).first(count));
      REQUIRE(restored[count] == 9.0f);
      REQUIRE(restored[count + 1] == 9.0f);
      restored.resize(count);
      REQUIRE(same_bits(restored, expected.values));
    }
  }
}

TEST_CASE("the format on the wire is fixed") {
  // Ties go to even; −63.5 and −3.5 to −64 and −4.
  const Floats eights = {127.0f, -1.0f, 0.5f, 1.5f, -63.5f};
  CHECK(encoded(Codec::int8, eights) == bytes_of({0, 0, 0x80, 0x3f, 127, 0xff, 0, 2, 0xc0}));
  const Floats fours = {7.0f, -1.0f, 0.5f, 1.5f, -3.5f};
  CHECK(encoded(Codec::int4, fours) == bytes_of({0, 0, 0x80, 0x3f, 0xf7, 0x20, 0x0c}));
  const Floats pair = {1.0f + 0x1p-8f, -0x1.02p-140f};
  CHECK(encoded(Codec::none, pair) == bytes_of({0, 0x80, 0x80, 0x3f, 4, 2, 0, 0x80}));
  CHECK(encoded(Codec::bf16, pair) == bytes_of({0x80, 0x3f, 0, 0x80}));

  // 1000 values of integer arithmetic, of magnitudes that differ between blocks.
  Floats values;
  std::uint32_t state = 1;
  for (int i = 0; i < 1000; ++i) {
    state = state * 1664525u + 1013904223u;
    const auto mantissa = static_cast<float>(static_cast<std::int32_t>(state) >> 8);
    values.push_back(std::ldexp(mantissa, -20 - 9 * (i / 256)));
  }
  CHECK(fnv1a(encoded(Codec::none, values)) == 0x34494aa98a53062cu);
  CHECK(fnv1a(encoded(Codec::bf16, values)) == 0x18e75c6e0318877du);
  CHECK(fnv1a(encoded(Codec::int8, values)) == 0x9a373232c9b6fddfu);
  CHECK(fnv1a(encoded(Codec::int4, values)) == 0xa4f092fdec96c109u);
}

TEST_CASE("a value of any magnitude is off by at most half a scale") {
  const unsigned seed = 5;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const Codec codec : {Codec::int8, Codec::int4}) {
    for (int exponent = -149; exponent <= 126; ++exponent) {
      CAPTURE(std::string(name_of(codec)));
      CAPTURE(exponent);
      Floats values(256);
      std::uniform_real_distribution<double> uniform(-2.0, 2.0);
      for (auto& value : values) {
        value = static_cast<float>(std::ldexp(uniform(random), exponent));
      }
      values[17] = std::ldexp(1.9f, exponent);
      const Bytes bytes = encoded(codec, values);
      REQUIRE(bytes == reference(codec, values).bytes);
      const Floats restored = decoded(codec, bytes, values.size());
      double largest = 0.0, worst = 0.0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        largest = std::max(largest, std::fabs(static_cast<double>(values[i])));
        worst = std::max(worst, std::fabs(static_cast<double>(restored[i]) - values[i]));
      }
      const double scale = largest / largest_integer(codec);
      if (scale < FLT_MIN) {
        CHECK(restored == Floats(256, 0.0f));
      } else {
        CHECK(worst <= 0.5 * scale * (1 + 1e-5));
      }
    }
  }
}

TEST_CASE("rounding has no bias") {
  const unsigned seed = 7;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Floats values = normal_values(random, 1 << 19, 1.0f);
  for (const Codec codec : {Codec::bf16, Codec::int8, Codec::int4}) {
    CAPTURE(std::string(name_of(codec)));
    const Floats restored = decoded(codec, encoded(codec, values), values.size());
    double sum = 0.0, squares = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double error = static_cast<double>(restored[i]) - values[i];
      sum += error;
      squares += error * error;
    }
    CHECK(squares > 0.0);
    CHECK(std::fabs(sum) < 4.0 * std::sqrt(squares));  // of independent errors: 4 deviations
  }
}

TEST_CASE("chunks make the bytes of the whole, and decode by themselves") {
  const unsigned seed = 13;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int trial = 0; trial < 50; ++trial) {
    CAPTURE(trial);
    const Floats values = normal_values(random, random() % 5000);
    for (const Codec codec : all_codecs) {
      CAPTURE(std::string(name_of(codec)));
      const Bytes whole = encoded(codec, values);
      Bytes pieces;
      for (std::size_t begin = 0; begin < values.size();) {
        const std::size_t count =
            std::min<std::size_t>(256 * (1 + random() % 5), values.size() - begin);
        const auto slice = std::span(values).subspan(begin, count);
        const Bytes piece = encoded(codec, slice);
        REQUIRE(pieces.size() == encoded_bytes(codec, begin));
        REQUIRE(same_bits(decoded(codec, piece, count), reference(codec, slice).values));
        pieces.insert(pieces.end(), piece.begin(), piece.end());
        begin += count;
      }
      REQUIRE(pieces == whole);
    }
  }
}

TEST_CASE("zeros, subnormals and the edges of the range") {
  for (const Codec codec : {Codec::int8, Codec::int4}) {
    CAPTURE(std::string(name_of(codec)));
    const Floats zeros(300, -0.0f);
    CHECK(encoded(codec, zeros) == Bytes(encoded_bytes(codec, 300)));
    CHECK(same_bits(decoded(codec, encoded(codec, zeros), 300), Floats(300, 0.0f)));

    const float least = static_cast<float>(largest_integer(codec)) * FLT_MIN;
    CHECK(decoded(codec, encoded(codec, Floats{least, -least}), 2) == Floats{least, -least});
    const float below = std::nextafter(least, 0.0f);
    CHECK(decoded(codec, encoded(codec, Floats{below, -below}), 2) == Floats{0.0f, 0.0f});
    // A subnormal beside an ordinary value, whose scale it is measured by.
    CHECK(decoded(codec, encoded(codec, Floats{1.0f, 0x1p-149f}), 2) == Floats{1.0f, 0.0f});
  }
  const float most = std::nextafter(0x1p127f, 0.0f);
  for (const Codec codec : all_codecs) {
    CAPTURE(std::string(name_of(codec)));
    const Floats restored = decoded(codec, encoded(codec, Floats{most, -most, 1.0f}), 3);
    CHECK(restored[0] == doctest::Approx(most));
    CHECK(restored[1] == -restored[0]);
  }
  const Floats any = {FLT_MAX, -FLT_MAX, 0x1p-149f, -0.0f};
  CHECK(same_bits(decoded(Codec::none, encoded(Codec::none, any), 4), any));
}

TEST_CASE("what is not finite is never encoded, and the first one is named") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Codec codec : all_codecs) {
    for (const float bad : {std::nanf(""), -std::nanf("1"), infinity, -infinity}) {
      for (const std::size_t index : {0, 255, 256, 511, 512, 599}) {
        CAPTURE(std::string(name_of(codec)));
        CAPTURE(index);
        Floats values(600, 1.0f);
        values[index] = bad;
        values[599] = bad;
        Bytes bytes(encoded_bytes(codec, 600));
        std::size_t found = 600;
        try {
          encode(codec, values, bytes);
        } catch (const NotEncodable& error) {
          found = error.index();
          CHECK(std::bit_cast<std::uint32_t>(error.value()) == std::bit_cast<std::uint32_t>(bad));
        }
        CHECK(found == index);
      }
    }
  }
  for (const Codec codec : {Codec::bf16, Codec::int8, Codec::int4}) {
    Bytes bytes(encoded_bytes(codec, 2));
    CHECK_THROWS_AS(encode(codec, Floats{0.0f, 0x1p127f}, bytes), NotEncodable);
    Floats values = {-FLT_MAX, 0.0f};
    CHECK_THROWS_AS(quantise(codec, values, bytes), NotEncodable);
  }
}

TEST_CASE("bytes that no encoder writes are refused") {
  Floats values(300);
  for (const Codec codec : all_codecs) {
    CAPTURE(std::string(name_of(codec)));
    const Bytes good = encoded(codec, Floats(300, 1.0f));
    for (const std::size_t size : {std::size_t{0}, good.size() - 1}) {
      CHECK_THROWS_AS(decode(codec, std::span(good).first(size), values), Error);
    }
    CHECK_THROWS_AS(decode(codec, good, std::span(values).first(298)), Error);
  }
  for (const Codec codec : {Codec::none, Codec::int8, Codec::int4}) {
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      Bytes bytes = encoded(codec, Floats(300, 1.0f));
      std::memcpy(bytes.data() + encoded_bytes(codec, 256), &bad, sizeof bad);
      CHECK_THROWS_AS(decode(codec, bytes, values), Error);
      CHECK_THROWS_AS(decode_add(codec, bytes, 1.0f, values), Error);
    }
  }
  for (const Codec codec : {Codec::int8, Codec::int4}) {
    for (const float bad : {-1.0f, 0x1p-127f, FLT_MAX / 8.0f * 2.0f}) {
      Bytes bytes = encoded(codec, Floats(300, 1.0f));
      std::memcpy(bytes.data(), &bad, sizeof bad);
      CHECK_THROWS_AS(decode(codec, bytes, values), Error);
    }
  }
  CHECK_THROWS_AS(decode(Codec::bf16, bytes_of({0, 0, 0x80, 0xff}), std::span(values).first(2)),
                  Error);
}

TEST_CASE("any integers decode to finite values") {
  const unsigned seed = 17;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const Codec codec : {Codec::int8, Codec::int4}) {
    Bytes bytes = encoded(codec, Floats(256, std::nextafter(0x1p127f, 0.0f)));
    for (std::size_t i = 4; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(random());
    bytes[4] = codec == Codec::int8 ? std::byte{0x80} : std::byte{0x88};
    for (const float value : decoded(codec, bytes, 256)) CHECK(std::isfinite(value));
  }
}

TEST_CASE("a weighted sum rounds the product, then the sum") {
  const unsigned seed = 19;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const Codec codec : all_codecs) {
    CAPTURE(std::string(name_of(codec)));
    Floats sum(1000, 0.0f), expected(1000, 0.0f);
    for (const float weight : {0.3f, 0.5f, 0.2f}) {
      const Floats values = normal_values(random, 1000);
      decode_add(codec, encoded(codec, values), weight, sum);
      const Reference each = reference(codec, values);
      for (std::size_t i = 0; i < 1000; ++i) {
        const float product = weight * each.values[i];
        expected[i] += product;
      }
    }
    CHECK(same_bits(sum, expected));
  }
}

TEST_CASE("the owner of a slice applies what it sends") {
  const unsigned seed = 23;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Floats values = normal_values(random, 1000);
  for (const Codec codec : all_codecs) {
    Floats applied = values;
    Bytes sent(encoded_bytes(codec, values.size()));
    quantise(codec, applied, sent);
    CHECK(sent == encoded(codec, values));
    CHECK(same_bits(applied, decoded(codec, sent, values.size())));
  }
}

}  // namespace train::wide
