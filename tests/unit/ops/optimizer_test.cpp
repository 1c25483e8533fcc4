#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr std::int64_t counts[] = {1, 3, 64, 1001, 70001};
const AdamWStep options{.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.99f, .gradient_scale = 0.5f};
constexpr float weight_decay = 0.1f;

// One element of AdamW by hand.
struct Scalar {
  double p, m = 0.0, v = 0.0;

  void step(double gradient, const AdamWStep& by) {
    const double g = gradient * by.gradient_scale;
    m = by.beta1 * m + (1.0 - by.beta1) * g;
    v = by.beta2 * v + (1.0 - by.beta2) * g * g;
    const double m_hat = m / (1.0 - std::pow(by.beta1, by.step));
    const double v_hat = v / (1.0 - std::pow(by.beta2, by.step));
    p = p - by.lr * weight_decay * p - by.lr * m_hat / (std::sqrt(v_hat) + by.eps);
  }
};

TEST_CASE("adamw") {
  for (const std::int64_t count : counts) {
    CAPTURE(count);
    compare_with_reference([&](Bench& bench) {
      const bool copied = bench.type() == DataType::bf16;
      const Tensor parameter = bench.input({count});
      const Tensor master = copied ? bench.input_of(DataType::f32, {count}) : Tensor();
      const Tensor m = bench.input_of(DataType::f32, {count});
      const Tensor v = bench.input_of(DataType::f32, {count});
      bench.ops().fill(m, 0.0f);
      bench.ops().fill(v, 0.0f);
      for (std::int64_t step = 1; step <= 3; ++step) {
        AdamWStep by = options;
        by.step = step;
        for (const DataType type : {DataType::f32, DataType::bf16}) {
          bench.ops().adamw({parameter, master, bench.input_of(type, {count}), m, v, weight_decay},
                            by);
        }
      }
      bench.compare("parameter", parameter);
      if (copied) bench.compare("master", master);
      bench.compare("m", m);
      bench.compare("v", v);
    });
  }
}

TEST_CASE("adamw agrees with its formula") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const std::int64_t count = 37;
    const Tensor parameter = bench.input({count});
    const Tensor m = bench.input({count}, 0.0);
    const Tensor v = bench.input({count}, 0.0);
    std::vector<Scalar> expected;
    for (const double value : values_of(parameter)) expected.push_back({.p = value});
    for (std::int64_t step = 1; step <= 20; ++step) {
      AdamWStep by = options;
      by.step = step;
      const Tensor gradient = bench.input({count});
      const std::vector<double> gradients = values_of(gradient);
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i].step(gradients[i], by);
      bench.ops().adamw({parameter, {}, gradient, m, v, weight_decay}, by);
    }
    std::vector<double> want;
    for (const Scalar& scalar : expected) want.push_back(scalar.p);
    CHECK(relative_error(values_of(parameter), want) < 1e-6);
  }
}

// One behind another in shared memory, one of them empty and the last at an odd address.
TEST_CASE("AdamW of several parts") {
  compare_with_reference([&](Bench& bench) {
    const std::int64_t sizes[] = {20000, 0, 7, 40001}, total = 60008;
    const bool rounded = bench.type() == DataType::bf16;
    const Tensor parameter = bench.input({total}), gradient = bench.input({total});
    const Tensor master = rounded ? bench.input_of(DataType::f32, {total}) : Tensor();
    const Tensor m = bench.statistics("m", {total}), v = bench.statistics("v", {total});
    bench.ops().fill(m, 0.25f);
    bench.ops().fill(v, 0.5f);
    std::vector<AdamWPart> parts;
    std::int64_t begin = 0;
    for (const std::int64_t count : sizes) {
      const auto cut = [&](const Tensor& all) {
        return all.defined() ? all.slice(begin, {count}) : Tensor();
      };
      parts.push_back(
          {cut(parameter), cut(master), cut(gradient), cut(m), cut(v), begin == 0 ? 0.1f : 0.0f});
      begin += count;
    }
    bench.ops().adamw(parts, {.lr = 1e-2f, .step = 3});
    bench.compare("parameter", parameter);
    if (rounded) bench.compare("master", master);
  });
}

TEST_CASE("a bf16 parameter follows its master, and moves by less than it can show") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    auto make = [&](DataType type, double value) { return tensor_of(device, {1}, type, {value}); };
    const Tensor parameter = make(DataType::bf16, 1.0);
    const Tensor master = make(DataType::f32, 1.0);
    const Tensor gradient = make(DataType::bf16, 1.0);
    const Tensor m = make(DataType::f32, 0.0);
    const Tensor v = make(DataType::f32, 0.0);
    // Each step is 1e-3; one step of bf16 below 1 is 1/256.
    for (std::int64_t step = 1; step <= 10; ++step) {
      device.ops().adamw({parameter, master, gradient, m, v}, {.lr = 1e-3f, .step = step});
      CHECK(values_of(parameter)[0] == float(BFloat16(static_cast<float>(values_of(master)[0]))));
    }
    CHECK(values_of(master)[0] == doctest::Approx(0.99).epsilon(1e-5));
  }
}

TEST_CASE("sum of squares") {
  for (const std::int64_t count : {0, 1, 7, 4097, 100003}) {
    CAPTURE(count);
    const auto reference = make_reference_device();
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      Bench expected(*reference, type, 3);
      const double want = expected.ops().sum_of_squares(expected.input({count}));
      for (const NamedDevice& tested : devices_to_compare()) {
        INFO("device: ", tested.name, ", type: ", std::string(name_of(type)));
        Bench bench(*tested.device, type, 3);
        const Tensor x = bench.input({count});
        const double got = bench.ops().sum_of_squares(x);
        CHECK(got == doctest::Approx(want).epsilon(1e-12));
        CHECK(got == bench.ops().sum_of_squares(x));
        CHECK(bench.ops().all_finite(x));
        // In parts, one of them empty and the last at an odd address.
        const std::int64_t cut = count / 3;
        const Tensor parts[] = {x.slice(0, {cut}), x.slice(cut, {0}), x.slice(cut, {count - cut})};
        CHECK(bench.ops().sum_of_squares(parts) == doctest::Approx(want).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("sums of squares beyond f32 are kept, and what is not a number is noticed") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const NamedDevice& tested : all_devices()) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      INFO("device: ", tested.name, ", type: ", std::string(name_of(type)));
      Ops& ops = tested.device->ops();
      const std::int64_t count = 5000;
      const Tensor x(tested.device->memory(), {count}, type);
      ops.fill(x, 0x1p100f);
      CHECK(ops.sum_of_squares(x) == 5000 * 0x1p200);
      CHECK(ops.all_finite(x));
      std::vector<double> values(count, 1.0);
      for (const std::size_t at : {std::size_t{0}, std::size_t{2500}, std::size_t{4999}}) {
        CAPTURE(at);
        for (const double bad : {inf, -inf, nan}) {
          values[at] = bad;
          set_values(x, values);
          CHECK_FALSE(ops.all_finite(x));
          CHECK_FALSE(std::isfinite(ops.sum_of_squares(x)));
        }
        values[at] = 1.0;
      }
    }
  }
}

}  // namespace
}  // namespace train::test
