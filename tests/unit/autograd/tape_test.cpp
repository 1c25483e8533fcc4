#include "libtrain/autograd/tape.hpp"

#include <cmath>
#include <utility>

#include <doctest/doctest.h>

#include "libtrain/autograd/functions.hpp"

using namespace train;

namespace {

Parameter& initialized(Parameter& parameter, Device& device) {
  parameter.initialize(device.memory(), DataType::f64, 1);
  parameter.set_gradient(Tensor(device.memory(), parameter.shape(), DataType::f64));
  return parameter;
}

Value ones(Device& device, Shape shape) {
  Value value(Tensor(device.memory(), shape, DataType::f64));
  device.ops().fill(value.tensor(), 1.0f);
  return value;
}

// Starts a backward pass with a gradient of ones.
void start(Tape& tape, const Value& value) {
  *value.gradient() = Tensor(tape.memory(), value.tensor().shape(), DataType::f64);
  tape.ops().fill(*value.gradient(), 1.0f);
}

}  // namespace

TEST_CASE("functions run backward in reverse and are freed as they have run") {
  const auto device = make_reference_device();
  Tape tape(*device, Tape::Mode::record);
  std::vector<int> order;
  auto held = std::make_shared<int>(0);
  tape.record([&] { order.push_back(1); });
  tape.record([&, held] { order.push_back(2); });
  tape.record([&] {
    CHECK(held.use_count() == 2);
    order.push_back(3);
  });
  tape.backward();
  CHECK(order == std::vector<int>{3, 2, 1});
  CHECK(held.use_count() == 1);
}

TEST_CASE("a gradient is ready after the last of its parameter's uses") {
  const auto device = make_reference_device();
  Tape tape(*device, Tape::Mode::record);
  Parameter weight("shared", {2, 2}, Initializer::ones());
  initialized(weight, *device);
  int ready = 0;
  tape.on_gradient_ready([&](Parameter& parameter) {
    ++ready;
    // Both uses have written: y = x w w, with ones everywhere.
    CHECK(parameter.gradient().span<double>()[0] == doctest::Approx(4.0 + 4.0));
  });
  const Value x = ones(*device, {2, 2});
  const Value y = linear(tape, linear(tape, x, weight, nullptr), weight, nullptr);
  start(tape, y);
  tape.backward();
  CHECK(ready == 1);
}

TEST_CASE("both summands get their own gradient, whoever writes to it later") {
  const auto device = make_reference_device();
  Tape tape(*device, Tape::Mode::record);
  Parameter weight("w", {1, 1}, Initializer{Initializer::Kind::constant, 3.0f, 0.0f});
  initialized(weight, *device);
  // b is made first and a is used once more before the sum: a's second gradient comes in while b's
  // maker has not read b's yet.
  const Value x = ones(*device, {1, 1});
  const Value b = linear(tape, x, weight, nullptr);
  const Value a = ones(*device, {1, 1});
  const Value used = linear(tape, a, weight, nullptr);
  const Value sum = add(tape, add(tape, a, b), used);
  start(tape, sum);
  tape.backward();
  CHECK(a.gradient()->span<double>()[0] == doctest::Approx(4.0));
  CHECK(b.gradient()->span<double>()[0] == doctest::Approx(1.0));
  CHECK(x.gradient()->span<double>()[0] == doctest::Approx(3.0));
}

TEST_CASE("a tape that is dropped lets its parameters go") {
  const auto device = make_reference_device();
  Parameter weight("w", {2, 2}, Initializer::ones());
  initialized(weight, *device);
  const Value x = ones(*device, {2, 2});
  {
    Tape dropped(*device, Tape::Mode::record);
    linear(dropped, x, weight, nullptr);
  }
  Tape tape(*device, Tape::Mode::record);
  int ready = 0;
  tape.on_gradient_ready([&](Parameter&) { ++ready; });
  const Value y = linear(tape, x, weight, nullptr);
  start(tape, y);
  tape.backward();
  CHECK(ready == 1);
}

TEST_CASE("initial values depend on seed, name and index alone") {
  const auto device = make_reference_device();
  Parameter small("w", {10, 3}, Initializer::normal(0.5f));
  Parameter large("w", {1000, 30}, Initializer::normal(0.5f));
  Parameter other("v", {10, 3}, Initializer::normal(0.5f));
  for (Parameter* parameter : {&small, &large, &other}) {
    parameter->initialize(device->memory(), DataType::f32, 42);
  }
  const auto values = large.value().span<float>();
  double sum = 0.0;
  double squares = 0.0;
  for (const float x : values) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const auto count = static_cast<double>(values.size());
  CHECK(sum / count == doctest::Approx(0.0).epsilon(0.01).scale(1));
  CHECK(std::sqrt(squares / count) == doctest::Approx(0.5).epsilon(0.02));
  for (std::size_t i = 0; i < 30; ++i) {
    CHECK(small.value().span<float>()[i] == values[i]);
    CHECK(other.value().span<float>()[i] != values[i]);
  }
}

TEST_CASE("an activation is passed once, within its reader's product or on its own") {
  const auto device = make_reference_device();
  Parameter first("first", {3, 2}, Initializer::normal(1.0f));
  Parameter second("second", {2, 3}, Initializer::normal(1.0f));
  for (Parameter* parameter : {&first, &second}) initialized(*parameter, *device);
  enum class Use { alone, held, twice, as_summand };
  const auto gradient_of = [&](Use use) {
    Tape tape(*device, Tape::Mode::record);
    first.clear_gradient();
    second.clear_gradient();
    const Value x = ones(*device, {1, 2});
    Value hidden = linear(tape, x, first, nullptr, Activation::gelu_tanh);
    const auto argument = hidden.argument();
    const auto read = [&](const Value& value) { return linear(tape, value, second, nullptr); };
    Value y;
    if (use == Use::as_summand) {
      y = read(add(tape, hidden, hidden));
    } else {
      y = read(hidden);
      if (use == Use::twice) y = add(tape, y, read(hidden));
    }
    if (use != Use::held) hidden = Value();
    start(tape, y);
    tape.backward();
    CHECK(argument->has_gradient == (use == Use::alone));
    return std::pair(x.gradient()->span<double>()[0], first.gradient().span<double>()[1]);
  };
  const auto [dx, dw] = gradient_of(Use::alone);
  for (const auto& [use, times] :
       {std::pair(Use::held, 1.0), std::pair(Use::twice, 2.0), std::pair(Use::as_summand, 2.0)}) {
    CAPTURE(static_cast<int>(use));
    const auto [dx_again, dw_again] = gradient_of(use);
    CHECK(dx_again == doctest::Approx(times * dx));
    CHECK(dw_again == doctest::Approx(times * dw));
  }
}
