#include <algorithm>
#include <limits>

#include <doctest/doctest.h>

#include "libtrain/tensor/philox.hpp"
#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr std::int64_t counts[] = {1, 3, 64, 1001, 70001};

TEST_CASE("add, scale and fill") {
  for (const std::int64_t count : counts) {
    CAPTURE(count);
    compare_with_reference([&](Bench& bench) {
      const Tensor a = bench.input({count});
      const Tensor b = bench.input({count});
      bench.ops().add(a, b, bench.output("a + b", {count}));
      bench.ops().add(a, b, a);
      bench.compare("in place of a", a);
      bench.ops().add(a, b, b);
      bench.compare("in place of b", b);
      const Tensor scaled = bench.input({count});
      bench.ops().scale(scaled, -0.37f);
      bench.compare("scaled", scaled);
      bench.ops().fill(bench.output("filled", {count}), 1.7f);
    });
  }
}

TEST_CASE("convert") {
  for (const std::int64_t count : counts) {
    CAPTURE(count);
    compare_with_reference([&](Bench& bench) {
      const Tensor source = bench.input({count});
      bench.ops().convert(source, bench.output_of(DataType::f32, "to f32", {count}));
      bench.ops().convert(source, bench.output_of(DataType::bf16, "to bf16", {count}));
    });
  }
}

TEST_CASE("convert rounds to nearest even") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  // bf16 keeps 8 bits: between 1 and 2 its steps are 1/128.
  const std::vector<double> values{
      1.0 + 1.0 / 256, 1.0 + 3.0 / 256, 1.0 + 1.01 / 256, -1.0 - 3.0 / 256, 3.4e38, inf, -inf, -0.0,
      0x1p-133};
  const std::vector<double> rounded{
      1.0, 1.0 + 4.0 / 256, 1.0 + 2.0 / 256, -1.0 - 4.0 / 256, inf, inf, -inf, -0.0, 0x1p-133};
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    const Tensor source = tensor_of(*tested.device, {9}, DataType::f32, values);
    const Tensor target(tested.device->memory(), {9}, DataType::bf16);
    tested.device->ops().convert(source, target);
    CHECK(values_of(target) == rounded);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    tested.device->ops().fill(source, nan);
    tested.device->ops().convert(source, target);
    for (const double value : values_of(target)) CHECK(value != value);
  }
}

TEST_CASE("the reference rounds f64 to bf16 once, not by way of f32") {
  const auto device = make_reference_device();
  // Just above the middle of two bf16, nearer to it than f32 can tell.
  const Tensor source = tensor_of(*device, {2}, DataType::f64,
                                  {1.0 + 1.0 / 256 + 0x1p-40, -1.0 - 1.0 / 256 - 0x1p-40});
  const Tensor target(device->memory(), {2}, DataType::bf16);
  device->ops().convert(source, target);
  CHECK(values_of(target) == std::vector<double>{1.0 + 1.0 / 128, -1.0 - 1.0 / 128});
}

TEST_CASE("columns of one matrix in another") {
  struct Move {
    std::int64_t rows, from_width, from, count, to_width, to;
  };
  // The last two go in packs.
  constexpr Move moves[] = {
      {1, 1, 0, 1, 1, 0},     {3, 7, 2, 4, 9, 5},         {5, 6, 1, 0, 4, 4},    {0, 6, 1, 3, 4, 0},
      {65, 70, 6, 64, 65, 1}, {300, 192, 64, 64, 128, 0}, {7, 24, 8, 16, 40, 24}};
  for (const auto [rows, from_width, from, count, to_width, to] : moves) {
    CAPTURE(rows);
    CAPTURE(count);
    for (const Write write : {Write::assign, Write::add}) {
      compare_with_reference([&](Bench& bench) {
        const Tensor source = bench.input({rows, from_width});
        const Tensor target = bench.input({rows, to_width});
        bench.ops().copy_columns(source, from, count, {target, write}, to);
        bench.compare("target", target);
      });
    }
  }
  const auto device = make_reference_device();
  const Tensor source = tensor_of(*device, {2, 3}, DataType::f32, {1, 2, 3, 4, 5, 6});
  const Tensor target = tensor_of(*device, {2, 4}, DataType::f32, std::vector<double>(8, 10.0));
  device->ops().copy_columns(source, 1, 2, {target, Write::assign}, 0);
  device->ops().copy_columns(source, 0, 1, {target, Write::add}, 3);
  CHECK(values_of(target) == std::vector<double>{2, 3, 10, 11, 5, 6, 10, 14});
}

TEST_CASE("dropout") {
  for (const std::int64_t count : counts) {
    for (const float probability : {0.0f, 0.1f, 0.9f}) {
      CAPTURE(count);
      CAPTURE(probability);
      compare_with_reference([&](Bench& bench) {
        const Dropout dropout{
            .probability = probability, .key = ~std::uint64_t{0}, .step = 12, .first_index = 6};
        const Tensor x = bench.input({count});
        bench.ops().dropout(x, dropout, bench.output("y", {count}));
        bench.ops().dropout(x, dropout, x);
        bench.compare("in place", x);
      });
    }
  }
}

TEST_CASE("dropout drops its share and scales the rest") {
  constexpr std::int64_t count = 10000;
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    const Tensor ones(device.memory(), {count}, DataType::f32);
    device.ops().fill(ones, 1.0f);
    const Tensor y(device.memory(), {count}, DataType::f32);
    auto drop = [&](const Dropout& dropout) {
      device.ops().dropout(ones, dropout, y);
      return values_of(y);
    };
    const Dropout dropout{.probability = 0.25f, .key = 17, .step = 4};
    const std::vector<double> mask = drop(dropout);
    const auto dropped = std::count(mask.begin(), mask.end(), 0.0);
    std::vector<double> want;
    for (std::uint64_t i = 0; i < count; ++i) {
      const bool kept = uniform_from_bits(Philox::block(17, 4, i / 4)[i % 4]) > 0.25f;
      want.push_back(kept ? 4.0 / 3.0 : 0.0);
    }
    CHECK(relative_error(mask, want) < 1e-6);
    CHECK(dropped > 2500 - 200);  // 43 is one standard deviation
    CHECK(dropped < 2500 + 200);
    Dropout other_key = dropout;
    ++other_key.key;
    Dropout other_step = dropout;
    ++other_step.step;
    CHECK(drop(other_key) != mask);
    CHECK(drop(other_step) != mask);
    CHECK(drop(dropout) == mask);
  }
}

TEST_CASE("a dropout mask does not depend on how the tensor is cut") {
  constexpr std::int64_t count = 1000;
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    Bench bench(device, DataType::f32, 0);
    const Tensor x = bench.input({count});
    const Tensor whole = bench.output("whole", {count});
    const Tensor parts = bench.output("parts", {count});
    Dropout dropout{.probability = 0.5f, .key = 3, .step = 9, .first_index = 1u << 30};
    device.ops().dropout(x, dropout, whole);
    std::int64_t begin = 0;
    for (const std::int64_t end : {1, 2, 5, 9, 100, 333, 998, 1000}) {
      Dropout part = dropout;
      part.first_index += static_cast<std::uint64_t>(begin);
      device.ops().dropout(x.slice(begin, {end - begin}), part, parts.slice(begin, {end - begin}));
      begin = end;
    }
    CHECK(bytes_of(parts) == bytes_of(whole));
  }
}

}  // namespace
}  // namespace train::test
