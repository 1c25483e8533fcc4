#include "libtrain/memory_forecast.hpp"

#include <doctest/doctest.h>

using namespace train;

TEST_CASE("the forecast of a rank's state is what was measured") {
  // The table of libtrain/parallel/README.md, with its model.
  GptConfig config = parse_model("layers=5,heads=8,width=128,context=16");
  config.vocabulary = 512;
  REQUIRE(config.parameter_count() == 1'059'200);
  const auto bytes = [&](Zero zero, DataType type, DataType gradients, int ranks) {
    return state_bytes_per_rank(config, type, {.zero = zero, .gradient_type = gradients}, ranks, 1);
  };
  const auto f32 = DataType::f32, bf16 = DataType::bf16;
  CHECK(bytes(Zero::stage0, f32, f32, 4) == 16'947'200);
  CHECK(bytes(Zero::stage1, f32, f32, 4) == 10'592'000);
  CHECK(bytes(Zero::stage2, f32, f32, 2) == 10'592'000);
  CHECK(bytes(Zero::stage3, f32, f32, 4) == 4'236'800);
  CHECK(bytes(Zero::stage0, bf16, f32, 1) == 19'065'600);
  CHECK(bytes(Zero::stage2, bf16, f32, 4) == 6'355'200);
  CHECK(bytes(Zero::stage3, bf16, bf16, 2) == 8'473'600);
}

TEST_CASE("this machine has memory") {
  const auto available = available_host_bytes();
  if (available) CHECK(*available > 0);
}
