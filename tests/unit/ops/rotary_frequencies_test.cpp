#include "tests/unit/ops/rotary_frequencies.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "libtrain/ops/rotary_table.hpp"

namespace train::test {
namespace {

// f32 positions have 24 bits; angles are computed in f64.
void check(const RotaryFrequencies& frequencies, const std::vector<double>& expected) {
  const auto half = static_cast<std::int64_t>(expected.size());
  RotaryTable table;
  const float* rows = table.get(9001, 2 * half, frequencies);
  for (std::int64_t i = 0; i < half; ++i) {
    CAPTURE(i);
    const double frequency = expected[static_cast<std::size_t>(i)];
    CHECK(frequencies.at(i, 2 * half) == doctest::Approx(frequency).epsilon(1e-13));
    const float* row = rows + std::int64_t{9000} * 2 * half;
    CHECK(row[i] == doctest::Approx(std::cos(9000.0 * frequency)).epsilon(1e-6));
    CHECK(row[half + i] == doctest::Approx(std::sin(9000.0 * frequency)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("scaled frequencies are transformers'") {
  check({500000.0f, RotaryScaling{}}, known::llama_3_1_8b);
  check({500000.0f, RotaryScaling{.factor = 32.0f}}, known::llama_3_2_1b);
  const RotaryScaling small{.factor = 3.0f,
                            .low_frequency_factor = 0.5f,
                            .high_frequency_factor = 6.0f,
                            .original_context = 100};
  check({100.0f, small}, known::small_rotary);
}

TEST_CASE("one table serves plain and scaled frequencies") {
  RotaryTable table;
  const RotaryFrequencies scaled{500000.0f, RotaryScaling{}};
  const RotaryFrequencies more{500000.0f, RotaryScaling{.factor = 32.0f}};
  const auto last = [&](const RotaryFrequencies& frequencies) {
    return table.get(200, 64, frequencies)[199 * 64 + 63];
  };
  CHECK(last(scaled) != last(500000.0f));
  CHECK(last(more) != last(scaled));
  CHECK(last(500000.0f) == doctest::Approx(std::sin(199.0 * std::pow(500000.0, -62.0 / 64.0))));
}

}  // namespace train::test
