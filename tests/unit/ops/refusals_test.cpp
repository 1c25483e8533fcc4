#include <doctest/doctest.h>

#include "tests/support/dies.hpp"
#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// What ends a program, in children of this one: not of one that has a GPU, which no child may use.
namespace train::test {
namespace {

TEST_CASE("an op that takes no gaps refuses them") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Device& device = *tested.device;
    Ops& ops = device.ops();
    const Tensor all = tensor_of(device, {2, 8}, DataType::f32, std::vector<double>(16, 1.0));
    const Tensor padded = all.first_columns(5);
    const Tensor plain(device.memory(), {2, 5}, DataType::f32);
    CHECK(dies([&] { ops.scale(padded, 2.0f); }));
    CHECK(dies([&] { ops.fill(padded, 2.0f); }));
    CHECK(dies([&] { ops.add(plain, plain, padded); }));
    CHECK(dies([&] { ops.convert(padded, plain); }));
    CHECK(dies([&] { ops.copy_columns(padded, 0, 2, {plain}, 0); }));
    CHECK(dies([&] { ops.copy_columns(plain, 4, 2, {plain}, 0); }));
    CHECK(dies([&] { ops.sum_of_squares(padded); }));
    CHECK(dies([&] { ops.activation_backward(Activation::silu, plain, padded, plain); }));
    const Tensor dy(device.memory(), {2, 2}, DataType::f32);
    CHECK(dies([&] { ops.linear_grad_input(dy, plain, {padded}); }));
  }
}

}  // namespace
}  // namespace train::test
