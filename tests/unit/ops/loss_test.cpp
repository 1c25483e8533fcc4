#include <cmath>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

struct Size {
  std::int64_t m;
  std::int32_t vocabulary;
};
constexpr Size sizes[] = {{1, 1}, {1, 11}, {7, 11}, {65, 1000}, {3, 257}};

TEST_CASE("cross entropy") {
  for (const auto [m, vocabulary] : sizes) {
    CAPTURE(m);
    CAPTURE(vocabulary);
    compare_with_reference([&](Bench& bench) {
      const Shape shape{m, vocabulary};
      const Tensor logits = bench.input(shape, 5.0);
      std::vector<std::int32_t> targets = bench.tokens(m, vocabulary);
      if (m > 1) targets[static_cast<std::size_t>(m) / 2] = -1;
      const float scale = 1.0f / static_cast<float>(m);
      Ops& ops = bench.ops();
      ops.cross_entropy(logits, targets, scale, bench.statistics("loss alone", {m}), {});
      ops.cross_entropy(logits, targets, scale, bench.statistics("losses", {m}),
                        bench.output("dlogits", shape));
      ops.cross_entropy(logits, targets, scale, bench.statistics("losses again", {m}), logits);
      bench.compare("in place", logits);
      const Tensor wide = bench.input_of(DataType::f32, shape, 5.0);
      ops.cross_entropy(wide, targets, scale, bench.statistics("losses of f32", {m}),
                        bench.output_of(DataType::bf16, "dlogits in bf16", shape));
    });
  }
}

TEST_CASE("padding has no loss and no gradient, whatever its logits") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    const Tensor logits =
        tensor_of(device, {3, 3}, DataType::f32, {1, 2, 3, 1, INFINITY, NAN, -1, 0, 1});
    const Tensor losses(device.memory(), {3}, DataType::f32);
    device.ops().cross_entropy(logits, std::vector<std::int32_t>{0, -1, -1}, 1.0f, losses, logits);
    const std::vector<double> loss = values_of(losses);
    const std::vector<double> gradient = values_of(logits);
    CHECK(loss[0] > 0.0);
    CHECK(loss[1] == 0.0);
    CHECK(loss[2] == 0.0);
    CHECK(gradient[0] < 0.0);
    for (std::size_t i = 3; i < 9; ++i) CHECK(gradient[i] == 0.0);
  }
}

TEST_CASE("extreme logits give a finite loss") {
  for (const NamedDevice& tested : all_devices()) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      INFO("device: ", tested.name, ", type: ", std::string(name_of(type)));
      Device& device = *tested.device;
      const double large = 9984.0;  // exact in bf16
      const Tensor logits = tensor_of(device, {3, 3}, type,
                                      {large, -large, 0, -large, -large, -large, large, large, 0});
      const Tensor losses(device.memory(), {3}, DataType::f32);
      const Tensor dlogits(device.memory(), {3, 3}, type);
      device.ops().cross_entropy(logits, std::vector<std::int32_t>{1, 0, 0}, 1.0f, losses, dlogits);
      CHECK(relative_error(values_of(losses), {2 * large, std::log(3.0), std::log(2.0)}) < 1e-6);
      const std::vector<double> want{1, -1, 0, -2.0 / 3, 1.0 / 3, 1.0 / 3, -0.5, 0.5, 0};
      CHECK(relative_error(values_of(dlogits), want) < 5e-3);
    }
  }
}

TEST_CASE("a target outside the vocabulary is refused by name") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    const Tensor logits = tensor_of(device, {2, 3}, DataType::f32, {1, 2, 3, 4, 5, 6});
    const Tensor losses(device.memory(), {2}, DataType::f32);
    for (const std::int32_t bad : {3, -2, 1 << 30}) {
      std::string message;
      try {
        device.ops().cross_entropy(logits, std::vector<std::int32_t>{0, bad}, 1.0f, losses, {});
      } catch (const Error& error) {
        message = error.what();
      }
      CHECK(message.find(std::to_string(bad)) != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace train::test
