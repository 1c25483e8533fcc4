#include "collectives/wide/codec/error_feedback.hpp"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/collectives/codec_reference.hpp"

namespace train::wide {
namespace {

/// Encodes all of `values`, and adds what is decoded to `sums`.
void exchange(ErrorFeedback& feedback, const Floats& values, std::vector<double>& sums) {
  Bytes bytes(encoded_bytes(feedback.codec(), values.size()));
  feedback.encode(0, values, bytes);
  feedback.commit();
  const Floats restored = decoded(feedback.codec(), bytes, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += restored[i];
}

}  // namespace

TEST_CASE("with feedback, what was decoded in 1000 rounds sums to what was put in") {
  const unsigned seed = 29;
  CAPTURE(seed);
  std::mt19937 random(seed);
  constexpr std::size_t count = 300;
  for (const Codec codec : all_codecs) {
    CAPTURE(std::string(name_of(codec)));
    ErrorFeedback feedback(codec, count);
    std::vector<double> put(count), sums(count);
    for (int round = 0; round < 1000; ++round) {
      const Floats values = normal_values(random, count, 1.0f);
      exchange(feedback, values, sums);
      for (std::size_t i = 0; i < count; ++i) put[i] += values[i];
    }
    // Of a block of normal values the scale is at most 6 / 7; the rest is rounding to f32.
    const double bound = codec == Codec::none
                             ? 0.0
                             : 0.5 * 6.0 / (is_scaled(codec) ? largest_integer(codec) : 127) + 1e-4;
    for (std::size_t i = 0; i < count; ++i) {
      REQUIRE(std::fabs(put[i] - sums[i]) <= bound);
      if (codec != Codec::none) {
        REQUIRE(std::fabs(put[i] - sums[i] - feedback.residual()[i]) <= 1e-4);
      }
    }
  }
}

TEST_CASE("a steady value below half a scale arrives with feedback, and never without") {
  Floats values(256, 1e-3f);
  values[0] = 1.0f;
  for (const Codec codec : {Codec::int8, Codec::int4}) {
    CAPTURE(std::string(name_of(codec)));
    ErrorFeedback feedback(codec, values.size());
    std::vector<double> sums(values.size());
    for (int round = 0; round < 1000; ++round) exchange(feedback, values, sums);
    const Floats alone = decoded(codec, encoded(codec, values), values.size());
    const double half_scale = 0.51 / largest_integer(codec);
    for (std::size_t i = 1; i < values.size(); ++i) {
      REQUIRE(std::fabs(sums[i] - 1.0) <= half_scale);
      REQUIRE(alone[i] == 0.0f);
    }
  }
}

TEST_CASE("an exchange that is retried sends the same bytes, in any chunks") {
  const unsigned seed = 31;
  CAPTURE(seed);
  std::mt19937 random(seed);
  constexpr std::size_t count = 1000;
  for (const Codec codec : {Codec::bf16, Codec::int8, Codec::int4}) {
    CAPTURE(std::string(name_of(codec)));
    ErrorFeedback feedback(codec, count);
    std::vector<double> sums(count);
    const Floats values = normal_values(random, count);
    exchange(feedback, values, sums);
    const Floats residual(feedback.residual().begin(), feedback.residual().end());

    const Floats next = normal_values(random, count);
    Bytes first(encoded_bytes(codec, count)), again(first.size());
    feedback.encode(0, next, first);
    CHECK(first != encoded(codec, next));  // the residual went along
    feedback.discard();
    for (const std::size_t begin : {768, 0, 512, 256}) {  // out of order, as chunks may come
      const std::size_t size = std::min<std::size_t>(256, count - begin);
      feedback.encode(
          begin, std::span(next).subspan(begin, size),
          std::span(again).subspan(encoded_bytes(codec, begin), encoded_bytes(codec, size)));
    }
    CHECK(again == first);
    CHECK(same_bits(Floats(feedback.residual().begin(), feedback.residual().end()), residual));

    feedback.commit();
    feedback.encode(0, next, again);
    CHECK(again != first);
    feedback.reset();
    feedback.encode(0, next, again);
    CHECK(again == encoded(codec, next));
  }
}

TEST_CASE("feedback keeps its residual when a value cannot be encoded") {
  ErrorFeedback feedback(Codec::int8, 600);
  std::vector<double> sums(600);
  Floats values(600, 1e-3f);
  values[0] = values[300] = 1.0f;
  exchange(feedback, values, sums);
  const Floats before(feedback.residual().begin(), feedback.residual().end());
  values[520] = std::nanf("");
  Bytes bytes(encoded_bytes(Codec::int8, 600));
  CHECK_THROWS_AS(feedback.encode(0, values, bytes), NotEncodable);
  CHECK(same_bits(Floats(feedback.residual().begin(), feedback.residual().end()), before));
}

}  // namespace train::wide
