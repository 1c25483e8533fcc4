#include "tests/unit/ops/support.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include <doctest/doctest.h>

#include "libtrain/tensor/philox.hpp"
#include "tests/unit/ops/devices.hpp"

namespace train::test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double guard_value = -12352.0;  // exact in bf16

double tolerance(DataType type) {
  return type == DataType::bf16 ? 1e-2 : 1e-5;
}

double widen(double value) {
  return value;
}
double widen(float value) {
  return value;
}
double widen(BFloat16 value) {
  return float(value);
}

template <typename Body>
void with_type(DataType type, Body&& body) {
  switch (type) {
    case DataType::f64:
      return body(double{});
    case DataType::f32:
      return body(float{});
    case DataType::bf16:
      return body(BFloat16{});
    default:
      unreachable("tests compute with reals");
  }
}

// Copies the elements of rows that lie `from` and `to` elements apart.
std::vector<double> restrided(const std::vector<double>& values, const Tensor& like,
                              std::int64_t from, std::int64_t to, std::vector<double> into) {
  for (std::int64_t row = 0; row < like.shape().rows(); ++row) {
    const auto begin = values.begin() + row * from;
    std::copy(begin, begin + like.shape().width(), into.begin() + row * to);
  }
  return into;
}

}  // namespace

std::vector<double> values_of(const Tensor& tensor) {
  if (tensor.has_gaps()) {
    return restrided(values_of(tensor.with_gaps()), tensor, tensor.row_stride(),
                     tensor.shape().width(),
                     std::vector<double>(static_cast<std::size_t>(tensor.elements())));
  }
  std::vector<double> values(static_cast<std::size_t>(tensor.elements()));
  with_type(tensor.type(), [&](auto type) {
    std::vector<decltype(type)> elements(values.size());
    tensor.copy_to_host(std::as_writable_bytes(std::span(elements)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = widen(elements[i]);
  });
  return values;
}

void set_values(const Tensor& tensor, const std::vector<double>& values) {
  invariant(values.size() == static_cast<std::size_t>(tensor.elements()), "one value per element");
  if (tensor.has_gaps()) {
    return set_values(tensor.with_gaps(),
                      restrided(values, tensor, tensor.shape().width(), tensor.row_stride(),
                                values_of(tensor.with_gaps())));
  }
  with_type(tensor.type(), [&](auto type) {
    std::vector<decltype(type)> elements(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) elements[i] = decltype(type)(values[i]);
    tensor.copy_from_host(std::as_bytes(std::span(elements)));
  });
}

Tensor tensor_of(Device& device, Shape shape, DataType type, const std::vector<double>& values) {
  Tensor tensor(device.memory(), shape, type);
  set_values(tensor, values);
  return tensor;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes;
  if (tensor.has_gaps()) {
    const std::vector<std::byte> all = bytes_of(tensor.with_gaps());
    const std::size_t size = size_of(tensor.type());
    for (std::int64_t row = 0; row < tensor.shape().rows(); ++row) {
      const auto begin = all.begin() + row * tensor.row_stride() * static_cast<std::int64_t>(size);
      bytes.insert(bytes.end(), begin,
                   begin + tensor.shape().width() * static_cast<std::int64_t>(size));
    }
    return bytes;
  }
  bytes.resize(tensor.bytes());
  tensor.copy_to_host(bytes);
  return bytes;
}

Tensor columns_of(Device& device, const Tensor& matrix, std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = matrix.shape().rows(), width = matrix.shape().width();
  const std::vector<double> all = values_of(matrix);
  std::vector<double> values;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = begin; i < end; ++i) values.push_back(all[row * width + i]);
  }
  return tensor_of(device, {rows, end - begin}, matrix.type(), values);
}

double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  if (got.size() != want.size()) return nan;
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return difference == 0.0 ? 0.0 : std::sqrt(difference / size);
}

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = values_of(a);
  const std::vector<double> y = values_of(b);
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

double Bench::draw() {
  if (drawn_ % 4 == 0) numbers_ = Philox::block(7, 0, drawn_ / 4);
  return 2.0 * uniform_from_bits(numbers_[drawn_++ % 4]) - 1.0;
}

Tensor Bench::guarded(DataType type, Shape shape) {
  const std::int64_t elements = shape.elements() + 2 * guard_;
  const std::vector<double> values(static_cast<std::size_t>(elements), guard_value);
  blocks_.push_back(tensor_of(device_, {elements}, type, values));
  return blocks_.back().slice(guard_, shape);
}

Tensor Bench::padded(DataType type, Shape shape, std::int64_t more) {
  const std::int64_t width = shape.width();
  const bool pads = ops().padded_width(1, type) > 1;
  const std::int64_t stride = pads ? ops().padded_width(width, type) + more : width;
  const Tensor all = guarded(type, {shape.rows(), stride});
  set_values(all, std::vector<double>(static_cast<std::size_t>(all.elements()), nan));
  return all.first_columns(width);
}

Tensor Bench::drawn(const Tensor& tensor, double scale) {
  std::vector<double> values(static_cast<std::size_t>(tensor.elements()));
  for (double& value : values) value = scale * draw();
  set_values(tensor, values);
  return tensor;
}

Tensor Bench::input_of(DataType type, Shape shape, double scale) {
  return drawn(guarded(type, shape), scale);
}

Tensor Bench::padded_input_of(DataType type, Shape shape, double scale, std::int64_t more) {
  return drawn(padded(type, shape, more), scale);
}

Tensor Bench::padded_output_of(DataType type, const std::string& name, Shape shape,
                               std::int64_t more) {
  compare(name, padded(type, shape, more));
  return outputs_.back().tensor;
}

std::vector<std::int32_t> Bench::tokens(std::int64_t count, std::int32_t vocabulary) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (auto& token : tokens) {
    token = static_cast<std::int32_t>((draw() + 1.0) * 0.4999 * vocabulary);
  }
  return tokens;
}

Tensor Bench::output_of(DataType type, const std::string& name, Shape shape) {
  Tensor tensor = guarded(type, shape);
  set_values(tensor, std::vector<double>(static_cast<std::size_t>(shape.elements()), nan));
  compare(name, tensor);
  return tensor;
}

Tensor Bench::statistics(const std::string& name, Shape shape) {
  return output_of(type_ == DataType::f64 ? DataType::f64 : DataType::f32, name, shape);
}

Gradient Bench::gradient_of(DataType type, const std::string& name, Shape shape, Write write) {
  if (write == Write::assign) return {output_of(type, name, shape), write};
  Tensor tensor = input_of(type, shape);
  compare(name, tensor);
  return {tensor, write};
}

bool Bench::guards_intact() const {
  for (const Tensor& block : blocks_) {
    const std::vector<double> values = values_of(block);
    for (std::int64_t i = 0; i < guard_; ++i) {
      if (values[i] != guard_value || values[values.size() - 1 - i] != guard_value) return false;
    }
  }
  return true;
}

void compare_with_reference(const std::function<void(Bench&)>& use) {
  const auto reference = make_reference_device();
  for (const DataType type : {DataType::f32, DataType::bf16}) {
    for (const std::int64_t guard : {32, 3}) {
      Bench expected(*reference, type, guard);
      use(expected);
      CHECK(expected.guards_intact());
      for (const NamedDevice& tested : devices_to_compare()) {
        INFO("device: ", tested.name, ", type: ", std::string(name_of(type)), ", guard: ", guard);
        Bench bench(*tested.device, type, guard);
        use(bench);
        Bench again(*tested.device, type, guard);
        use(again);
        CHECK(bench.guards_intact());
        REQUIRE(bench.outputs().size() == expected.outputs().size());
        for (std::size_t i = 0; i < bench.outputs().size(); ++i) {
          const Bench::Output& want = expected.outputs()[i];
          const Tensor& got = bench.outputs()[i].tensor;
          INFO("output: ", want.name);
          CHECK(relative_error(values_of(got), values_of(want.tensor)) <= tolerance(got.type()));
          if (tested.order == SumOrder::any) continue;
          CHECK(bytes_of(got) == bytes_of(again.outputs()[i].tensor));
        }
      }
    }
  }
}

void check_gradient(const std::string& name, const Tensor& input, const Tensor& analytic,
                    const std::function<double()>& loss) {
  constexpr double step = 1e-5;
  std::vector<double> differences;
  for (double& element : input.span<double>()) {
    const double before = element;
    element = before + step;
    const double above = loss();
    element = before - step;
    const double below = loss();
    element = before;
    differences.push_back((above - below) / (2.0 * step));
  }
  INFO("gradient: ", name);
  CHECK(relative_error(values_of(analytic), differences) <= 1e-6);
}

}  // namespace train::test
