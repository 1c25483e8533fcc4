#include <cmath>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr float eps = 1e-5f;
constexpr std::int64_t row_counts[] = {1, 7, 65, 130};
constexpr std::int64_t widths[] = {1, 3, 48, 100, 257};

// Calls body(m, width, write) for every mixture.
template <typename Body>
void for_each_size(Body&& body) {
  for (const std::int64_t m : row_counts) {
    for (const std::int64_t width : widths) {
      for (const Write write : {Write::assign, Write::add}) {
        CAPTURE(m);
        CAPTURE(width);
        CAPTURE(static_cast<int>(write));
        body(m, width, write);
      }
    }
  }
}

TEST_CASE("layer norm") {
  for_each_size([](std::int64_t m, std::int64_t width, Write write) {
    compare_with_reference([&](Bench& bench) {
      const Tensor x = bench.input({m, width}, 3.0);
      const Tensor weight = bench.input({width});
      const Tensor bias = bench.input({width});
      const Tensor dy = bench.input({m, width});
      const Tensor mean = bench.statistics("mean", {m});
      const Tensor rstd = bench.statistics("rstd", {m});
      Ops& ops = bench.ops();
      ops.layer_norm(x, weight, {}, eps, bench.output("no bias", {m, width}), mean, rstd);
      ops.layer_norm(x, weight, bias, eps, bench.output("y", {m, width}), mean, rstd);
      ops.layer_norm_backward(dy, x, weight, mean, rstd, bench.gradient("dx", {m, width}, write),
                              bench.gradient("dweight", {width}, write),
                              bench.gradient("dbias", {width}, write));
      ops.layer_norm_backward(dy, x, weight, mean, rstd, {},
                              bench.gradient_of(DataType::f32, "dweight in f32", {width}, write),
                              bench.gradient_of(DataType::f32, "dbias in f32", {width}, write));
      ops.layer_norm_backward(dy, x, weight, mean, rstd,
                              bench.gradient("dx alone", {m, width}, write), {}, {});
      ops.layer_norm_backward(dy, x, weight, mean, rstd, {},
                              bench.gradient("dweight alone", {width}, write), {});
    });
  });
}

TEST_CASE("rms norm") {
  // A row of one column has a gradient eps·rstd² times the terms that it is the difference of: a
  // small eps would compare roundings.
  constexpr float large_eps = 0.1f;
  for_each_size([](std::int64_t m, std::int64_t width, Write write) {
    compare_with_reference([&](Bench& bench) {
      const Tensor x = bench.input({m, width}, 3.0);
      const Tensor weight = bench.input({width});
      const Tensor dy = bench.input({m, width});
      const Tensor rstd = bench.statistics("rstd", {m});
      Ops& ops = bench.ops();
      ops.rms_norm(x, weight, large_eps, bench.output("y", {m, width}), rstd);
      ops.rms_norm_backward(dy, x, weight, rstd, bench.gradient("dx", {m, width}, write),
                            bench.gradient("dweight", {width}, write));
      ops.rms_norm_backward(dy, x, weight, rstd, bench.gradient("dx alone", {m, width}, write), {});
      ops.rms_norm_backward(dy, x, weight, rstd, {},
                            bench.gradient_of(DataType::f32, "dweight in f32", {width}, write));
    });
  });
}

TEST_CASE("norms of rows that a GPU's block takes in several goes") {
  // With sums of columns in registers, in shared memory, just as many as are kept there (6144 for
  // layer norm, 12288 for RMS norm), and in neither.
  for (const std::int64_t width : {1600, 6144, 12288, 12296}) {
    CAPTURE(width);
    compare_with_reference([&](Bench& bench) {
      const std::int64_t m = 17;  // so many that one block has several
      const Tensor x = bench.input({m, width}, 3.0), dy = bench.input({m, width});
      const Tensor weight = bench.input({width});
      const Tensor mean = bench.statistics("mean", {m}), rstd = bench.statistics("rstd", {m});
      Ops& ops = bench.ops();
      const auto gradient = [&](const char* name, Shape shape) {
        return bench.gradient(name, shape, Write::assign);
      };
      ops.layer_norm(x, weight, weight, eps, bench.output("y", {m, width}), mean, rstd);
      ops.layer_norm_backward(dy, x, weight, mean, rstd, gradient("dx", {m, width}),
                              gradient("dweight", {width}), gradient("dbias", {width}));
      ops.rms_norm(x, weight, eps, bench.output("rms y", {m, width}), rstd);
      ops.rms_norm_backward(dy, x, weight, rstd, gradient("rms dx", {m, width}),
                            gradient("rms dweight", {width}));
    });
  }
}

TEST_CASE("a sum and its norm") {
  for_each_size([](std::int64_t m, std::int64_t width, Write write) {
    if (write == Write::add) return;  // it writes no gradients
    compare_with_reference([&](Bench& bench) {
      const Tensor a = bench.input({m, width}, 3.0), b = bench.input({m, width}, 2.0);
      const Tensor weight = bench.input({width}), bias = bench.input({width});
      const Tensor mean = bench.statistics("mean", {m}), rstd = bench.statistics("rstd", {m});
      Ops& ops = bench.ops();
      ops.add_layer_norm(a, b, weight, bias, eps, bench.output("sum", {m, width}),
                         bench.output("y", {m, width}), mean, rstd);
      ops.add_layer_norm(a, b, weight, {}, eps, bench.output("sum without bias", {m, width}),
                         bench.output("y without bias", {m, width}), mean, rstd);
      ops.add_rms_norm(a, b, weight, eps, bench.output("rms sum", {m, width}),
                       bench.output("rms y", {m, width}), bench.statistics("rms rstd", {m}));
    });
  });
}

TEST_CASE("a sum and its norm have the bits of add and the norm, also in place") {
  for (const NamedDevice& tested : all_devices()) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      for (const std::int64_t width : widths) {
        INFO("device: ", tested.name, ", width ", width);
        Bench bench(*tested.device, type, 0);
        const Shape shape{7, width};
        const Tensor a = bench.input(shape, 3.0), b = bench.input(shape, 2.0);
        const Tensor weight = bench.input({width}), bias = bench.input({width});
        const auto make = [&](Shape like, DataType t) {
          return Tensor(tested.device->memory(), like, t);
        };
        const Tensor sum = make(shape, type), y = make(shape, type), y_fused = make(shape, type);
        const Tensor mean = make({7}, DataType::f32), rstd = make({7}, DataType::f32);
        Ops& ops = bench.ops();
        ops.add(a, b, sum);
        ops.rms_norm(sum, weight, eps, y, rstd);
        const Tensor sum_fused = make(shape, type);
        ops.add_rms_norm(a, b, weight, eps, sum_fused, y_fused, rstd);
        CHECK(values_of(sum_fused) == values_of(sum));
        CHECK(values_of(y_fused) == values_of(y));
        ops.layer_norm(sum, weight, bias, eps, y, mean, rstd);
        ops.add_layer_norm(a, b, weight, bias, eps, b, y_fused, mean, rstd);
        CHECK(values_of(b) == values_of(sum));
        CHECK(values_of(y_fused) == values_of(y));
      }
    }
  }
}

TEST_CASE("layer norm keeps its digits far from zero, where the mean of squares would lose them") {
  compare_with_reference([](Bench& bench) {
    const std::int64_t width = 100;
    std::vector<double> values(width);
    // Exact in f32 and in bf16: 1000 or 1008.
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 3 == 0 ? 1008.0 : 1000.0;
    const Tensor x = tensor_of(bench.device(), {1, width}, bench.type(), values);
    const Tensor weight = bench.input({width});
    bench.ops().layer_norm(x, weight, {}, eps, bench.output("y", {1, width}),
                           bench.statistics("mean", {1}), bench.statistics("rstd", {1}));
  });
}

TEST_CASE("a row of zeros or of equal values stays finite") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    const Tensor x = tensor_of(device, {2, 3}, DataType::f32, {0, 0, 0, 5, 5, 5});
    const Tensor weight = tensor_of(device, {3}, DataType::f32, {1, 2, 3});
    const Tensor bias = tensor_of(device, {3}, DataType::f32, {7, 8, 9});
    const Tensor y(device.memory(), {2, 3}, DataType::f32);
    const Tensor mean(device.memory(), {2}, DataType::f32);
    const Tensor rstd(device.memory(), {2}, DataType::f32);
    device.ops().layer_norm(x, weight, bias, eps, y, mean, rstd);
    CHECK(values_of(y) == std::vector<double>{7, 8, 9, 7, 8, 9});
    CHECK(values_of(mean) == std::vector<double>{0, 5});
    CHECK(relative_error(values_of(rstd), {std::sqrt(1e5), std::sqrt(1e5)}) < 1e-6);
    device.ops().rms_norm(x.rows(0, 1), weight, eps, y.rows(0, 1), rstd.slice(0, {1}));
    CHECK(values_of(y.rows(0, 1)) == std::vector<double>{0, 0, 0});
  }
}

}  // namespace
}  // namespace train::test
