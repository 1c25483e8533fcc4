#include "libtrain/rounds/outer_optimizer.hpp"

#include <array>
#include <cmath>
#include <random>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/rounds/outer_state.hpp"

using namespace train;

TEST_CASE("the outer step is SGD with Nesterov's momentum") {
  // As torch.optim.SGD(lr=0.5, momentum=0.5, nesterov=True) steps; all numbers are exact in f32.
  const OuterNesterov outer({.lr = 0.5f, .momentum = 0.5f});
  std::array<float, 4> now{1.0f, -2.0f, 0.0f, 0.0f};
  std::array<float, 4> next{};
  outer.step(now, std::array{0.5f, -1.0f}, {}, next);
  CHECK(next == std::array{0.625f, -1.25f, 0.5f, -1.0f});
  now = next;
  outer.step(now, std::array{-0.25f, 0.5f}, {}, next);
  // momentum 0.5 · 0.5 - 0.25 = 0, -0.5 + 0.5 = 0; step 0.5 · (mean + 0.5 · momentum).
  CHECK(next == std::array{0.75f, -1.5f, 0.0f, 0.0f});
}

TEST_CASE("no mean changes nothing but by what momentum is left") {
  const OuterNesterov outer({.lr = 1.0f, .momentum = 0.0f});
  const std::array<float, 4> now{1.0f, 2.0f, 3.0f, 4.0f};
  std::array<float, 4> next{};
  outer.step(now, std::array{0.0f, 0.0f}, {}, next);
  CHECK(next == std::array{1.0f, 2.0f, 0.0f, 0.0f});
}

TEST_CASE("outer AdamW steps as the optimizer inside a cluster does, clipping and decay included") {
  constexpr std::int64_t count = 1000;
  const AdamW config{.lr = 1e-2f, .weight_decay = 0.1f, .clip_norm = 1.0f};
  const OuterAdamW outer(config, {{0, 600, true}, {600, 1000, false}});
  const auto device = make_cpu_device(1);
  const auto tensor = [&] {
    return Tensor(device->memory(MemoryUse::optimizer_state), {count}, DataType::f32);
  };
  const Tensor parameter = tensor();
  const Tensor gradient = tensor();
  const Tensor m = tensor();
  const Tensor v = tensor();
  device->ops().fill(m, 0.0f);
  device->ops().fill(v, 0.0f);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> now(3 * count, 0.0f);
  for (std::size_t i = 0; i < count; ++i) {
    now[i] = normal(random);
    parameter.span<float>()[i] = now[i];
  }
  for (std::int64_t number = 1; number <= 5; ++number) {
    std::vector<float> mean(count);
    double squares = 0.0;
    for (float& value : mean) {
      value = normal(random);
      squares += static_cast<double>(value) * value;
    }
    std::ranges::copy(mean, gradient.span<float>().begin());
    const double norm = std::sqrt(squares);
    const AdamWStep step{.lr = config.lr,
                         .beta1 = config.beta1,
                         .beta2 = config.beta2,
                         .eps = config.eps,
                         .gradient_scale = static_cast<float>(1.0 / norm),
                         .step = number};
    for (const auto& [begin, end] : {std::pair{0, 600}, std::pair{600, 1000}}) {
      const float weight_decay = begin == 0 ? config.weight_decay : 0.0f;
      const auto part = [&](const Tensor& all) { return all.slice(begin, {end - begin}); };
      device->ops().adamw({part(parameter), {}, part(gradient), part(m), part(v), weight_decay},
                          step);
    }
    std::vector<float> next(now.size());
    outer.step(now, mean, {.number = number, .lr = config.lr, .mean_norm = norm}, next);
    now = next;
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(now[i] == doctest::Approx(parameter.span<float>()[i]).epsilon(1e-5));
    }
  }
}

TEST_CASE("values that cannot be are refused by name") {
  CHECK_THROWS_WITH_AS(OuterNesterov({.lr = 0.0f}), doctest::Contains("--outer-lr"), Error);
  CHECK_THROWS_WITH_AS(OuterNesterov({.momentum = 1.0f}), doctest::Contains("--outer-momentum"),
                       Error);
}

TEST_CASE("a state's hash tells any bit of any fragment") {
  const auto fragment = [](float value) {
    return std::make_shared<OuterFragment>(LaneValues{1.0f, value, 3.0f});
  };
  OuterState state{{1, 2, 1}, {fragment(2.0f)}};
  const std::uint64_t whole = state.hash();
  CHECK(state.hash() == whole);
  state.fragments[0] = fragment(std::nextafter(2.0f, 3.0f));
  CHECK(state.hash() != whole);
  state.fragments = {fragment(2.0f), fragment(4.0f)};
  const std::uint64_t two = state.hash();
  CHECK(two != whole);
  state.fragments[1] = fragment(std::nextafter(4.0f, 3.0f));
  CHECK(state.hash() != two);
}
