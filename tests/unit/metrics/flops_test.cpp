#include "libtrain/metrics/flops.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "collectives/error.hpp"

TEST_CASE("FLOPs per token and utilisation follow the published formulas") {
  // GPT-2 124M without its 1024 position embeddings: 6 · 123.65 M + 12 · 12 · 768 · 1024.
  const train::ModelSize gpt2{
      .parameters = 123'653'376, .layers = 12, .width = 768, .context = 1024};
  CHECK(train::flops_per_token(gpt2) == 741'920'256.0 + 113'246'208.0);
  CHECK(train::model_flops_utilisation(1e9, 500, 2e12) == doctest::Approx(0.25));
  CHECK(std::isnan(train::model_flops_utilisation(1e9, 500, 0)));
}

TEST_CASE("The measured peak is one that a processor can have") {
  const double one = train::measure_peak_flops(1);
  // From a core that others keep busy, under a sanitizer, to ten times what is sold today; a loop
  // that was optimised away would be far above.
  CHECK(one > 1e7);
  CHECK(one < 5e12);
  CHECK(train::measure_peak_flops(2) < 1e13);
  CHECK_THROWS_AS(train::measure_peak_flops(0), train::Error);
}
