#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// Ranks that share the vocabulary: what they compute of their columns, put together, is what
// cross_entropy says of the whole.
namespace train::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Where the parts of 11 columns end.
const std::vector<std::int64_t> cuts[] = {{11}, {4, 11}, {1, 8, 11}, {5, 5, 6, 11}, {0, 7, 7, 11}};
constexpr std::int64_t vocabulary = 11;
constexpr std::int64_t rows = 7;
const std::vector<std::int32_t> targets{3, 0, -1, 10, 5, -1, 4};

struct Loss {
  std::vector<double> losses;  // 0 for padding
  std::vector<double> dlogits;
};

struct Case {
  Device& device;
  Tensor logits;
  DataType gradient_type;

  DataType statistics() const {
    return logits.type() == DataType::f64 ? DataType::f64 : DataType::f32;
  }
  static float scale() { return 0.25f; }

  Loss whole() const {
    const Tensor losses(device.memory(), {rows}, statistics());
    const Tensor dlogits(device.memory(), logits.shape(), gradient_type);
    device.ops().cross_entropy(logits, targets, scale(), losses, dlogits);
    return {values_of(losses), values_of(dlogits)};
  }

  // One rank's columns.
  struct Part {
    std::int64_t begin, end;
    Tensor logits;
    std::vector<std::int32_t> targets;
  };

  std::vector<Part> parts(const std::vector<std::int64_t>& ends) const {
    std::vector<Part> all;
    std::int64_t begin = 0;
    for (const std::int64_t end : ends) {
      Part part{begin, end, columns_of(device, logits, begin, end), targets};
      for (std::int32_t& target : part.targets) {
        target = target >= begin && target < end ? target - static_cast<std::int32_t>(begin) : -1;
      }
      all.push_back(std::move(part));
      begin = end;
    }
    return all;
  }

  // Every rank's maxima and sums meet on the host, as collectives would combine them.
  Loss in_parts(const std::vector<std::int64_t>& ends) const {
    Ops& ops = device.ops();
    const std::vector<Part> all = parts(ends);
    std::vector<double> highest(rows, -infinity);
    for (const Part& part : all) {
      const Tensor maximum(device.memory(), {rows}, statistics());
      ops.row_maximum(part.logits, maximum);
      const std::vector<double> own = values_of(maximum);
      for (std::size_t m = 0; m < rows; ++m) highest[m] = std::max(highest[m], own[m]);
    }
    const Tensor maximum = tensor_of(device, {rows}, statistics(), highest);
    std::vector<double> total(2 * rows);
    for (const Part& part : all) {
      const Tensor sums(device.memory(), {2, rows}, statistics());
      ops.cross_entropy_parts(part.logits, part.targets, maximum, sums);
      const std::vector<double> own = values_of(sums);
      for (std::size_t i = 0; i < own.size(); ++i) total[i] += own[i];
    }
    const Tensor sums = tensor_of(device, {2, rows}, statistics(), total);
    Loss result{std::vector<double>(rows), std::vector<double>(rows * vocabulary)};
    std::vector<float> row_scale(rows);
    for (std::size_t m = 0; m < rows; ++m) {
      if (targets[m] < 0) continue;
      row_scale[m] = scale();
      result.losses[m] = std::log(total[m]) - total[rows + m];
    }
    for (const Part& part : all) {
      const std::int64_t width = part.end - part.begin;
      const bool in_place = gradient_type == part.logits.type();
      const Tensor dlogits =
          in_place ? part.logits : Tensor(device.memory(), {rows, width}, gradient_type);
      ops.cross_entropy_gradient(part.logits, part.targets, maximum, sums, row_scale, dlogits);
      const std::vector<double> own = values_of(dlogits);
      for (std::int64_t i = 0; i < rows * width; ++i) {
        result.dlogits[i / width * vocabulary + part.begin + i % width] = own[i];
      }
    }
    return result;
  }
};

struct Types {
  DataType logits, gradient;
  double tolerance;
};
constexpr Types types[] = {{DataType::f64, DataType::f64, 1e-12},
                           {DataType::f32, DataType::f32, 1e-5},
                           {DataType::f32, DataType::bf16, 5e-3},
                           {DataType::bf16, DataType::bf16, 5e-3}};

template <typename Body>
void for_each_case(Body&& body) {
  for (const NamedDevice& tested : all_devices()) {
    for (const Types& type : types) {
      if (type.logits == DataType::f64 && tested.name != "reference") continue;
      INFO("device: ", tested.name, ", logits: ", std::string(name_of(type.logits)),
           ", gradient: ", std::string(name_of(type.gradient)));
      Bench bench(*tested.device, type.logits, 0);
      const Tensor logits = bench.input({rows, vocabulary}, 5.0);
      body(Case{*tested.device, logits, type.gradient}, type.tolerance);
    }
  }
}

TEST_CASE("cross entropy over a vocabulary in parts") {
  for_each_case([](const Case& at, double tolerance) {
    const Loss want = at.whole();
    for (const auto& ends : cuts) {
      CAPTURE(ends.size());
      const Loss got = at.in_parts(ends);
      CHECK(relative_error(got.losses, want.losses) <= std::min(tolerance, 1e-5));
      CHECK(relative_error(got.dlogits, want.dlogits) <= tolerance);
    }
  });
}

TEST_CASE("cross entropy in parts with logits of all sizes, and any in rows of padding") {
  for_each_case([](const Case& at, double tolerance) {
    std::vector<double> values = values_of(at.logits);
    const double large = 9984.0;  // exact in bf16
    for (std::int64_t i = 0; i < vocabulary; ++i) {
      values[i] = i == 8 ? large : -large;                          // the target is unlikely
      values[vocabulary + i] = -large;                              // all are equally likely
      values[3 * vocabulary + i] = i == 10 ? large : large - 16.0;  // the target is likely
      values[2 * vocabulary + i] = i % 2 == 0 ? infinity : nan;
      values[5 * vocabulary + i] = -infinity;
    }
    set_values(at.logits, values);
    const Loss want = at.whole();
    for (const auto& ends : cuts) {
      CAPTURE(ends.size());
      const Loss got = at.in_parts(ends);
      CHECK(relative_error(got.losses, want.losses) <= std::min(tolerance, 1e-5));
      CHECK(relative_error(got.dlogits, want.dlogits) <= tolerance);
      for (std::int64_t i = 0; i < vocabulary; ++i) {
        CHECK(got.dlogits[2 * vocabulary + i] == 0.0);
        CHECK(got.dlogits[5 * vocabulary + i] == 0.0);
      }
    }
  });
}

TEST_CASE("a NaN or an infinite logit in one part spoils its row in all, and no other row") {
  for_each_case([](const Case& at, double) {
    std::vector<double> values = values_of(at.logits);
    for (const double bad : {nan, infinity}) {
      CAPTURE(bad);
      values[4 * vocabulary + 6] = bad;
      set_values(at.logits, values);
      for (const auto& ends : cuts) {
        CAPTURE(ends.size());
        const Loss got = at.in_parts(ends);
        for (std::int64_t m = 0; m < rows; ++m) {
          CAPTURE(m);
          CHECK(std::isfinite(got.losses[m]) == (m != 4));
          for (std::int64_t i = 0; i < vocabulary; ++i) {
            CHECK(std::isnan(got.dlogits[m * vocabulary + i]) == (m == 4));
          }
        }
      }
    }
  });
}

TEST_CASE("cross entropy of parts of many columns") {
  for (const std::int64_t width : {1, 100, 1000}) {
    CAPTURE(width);
    compare_with_reference([&](Bench& bench) {
      const Shape shape{65, width};
      const Tensor logits = bench.input(shape, 5.0);
      const Tensor wide = bench.input_of(DataType::f32, shape, 5.0);
      std::vector<std::int32_t> columns = bench.tokens(65, static_cast<std::int32_t>(width));
      std::vector<float> scale(65, 0.125f);
      for (std::size_t m = 0; m < 65; m += 3) columns[m] = -1;
      for (std::size_t m = 0; m < 65; m += 5) scale[m] = 0.0f;
      const Tensor maximum = bench.statistics("maximum", {65});
      const Tensor sums = bench.statistics("sums", {2, 65});
      Ops& ops = bench.ops();
      ops.row_maximum(logits, maximum);
      ops.cross_entropy_parts(logits, columns, maximum, sums);
      ops.cross_entropy_gradient(logits, columns, maximum, sums, scale,
                                 bench.output("dlogits", shape));
      ops.cross_entropy_gradient(logits, columns, maximum, sums, scale, logits);
      bench.compare("in place", logits);
      ops.row_maximum(wide, maximum);
      ops.cross_entropy_parts(wide, columns, maximum, sums);
      ops.cross_entropy_gradient(wide, columns, maximum, sums, scale,
                                 bench.output_of(DataType::bf16, "dlogits in bf16", shape));
    });
  }
}

TEST_CASE("an empty part has no maximum and adds nothing") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor logits = bench.input({3, 0});
    const Tensor maximum = bench.statistics("maximum", {3});
    const Tensor sums = bench.statistics("sums", {2, 3});
    const std::vector<std::int32_t> none(3, -1);
    bench.ops().row_maximum(logits, maximum);
    CHECK(values_of(maximum) == std::vector<double>(3, -infinity));
    bench.ops().fill(maximum, 1.0f);
    bench.ops().cross_entropy_parts(logits, none, maximum, sums);
    CHECK(values_of(sums) == std::vector<double>(6, 0.0));
    bench.ops().cross_entropy_gradient(logits, none, maximum, sums, std::vector<float>(3), logits);
  }
}

}  // namespace
}  // namespace train::test
