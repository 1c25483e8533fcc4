#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

struct Size {
  std::int64_t m, n, k;
};
constexpr Size sizes[] = {{1, 1, 1},      {1, 48, 257},  {7, 3, 1},    {7, 100, 48},
                          {65, 257, 3},   {65, 48, 100}, {64, 64, 64}, {3, 1, 100},
                          {130, 257, 48}, {9, 1001, 64}, {9, 96, 523}, {5, 525, 1003},
                          {519, 520, 40}};
constexpr Activation activations[] = {Activation::none, Activation::gelu_tanh, Activation::silu};
constexpr Write writes[] = {Write::assign, Write::add};

// use(bench, size, variant) for every size with each of the variants.
template <typename Variants, typename Use>
void for_each_size(const Variants& variants, const Use& use) {
  for (const Size& size : sizes) {
    CAPTURE(size.m);
    CAPTURE(size.n);
    CAPTURE(size.k);
    for (const auto variant : variants) {
      CAPTURE(static_cast<int>(variant));
      compare_with_reference([&](Bench& bench) { use(bench, size, variant); });
    }
  }
}

TEST_CASE("linear") {
  for_each_size(activations, [](Bench& bench, const Size& size, Activation activation) {
    const auto [m, n, k] = size;
    const Tensor x = bench.input({m, k});
    const Tensor w = bench.input({n, k});
    const Tensor bias = bench.input({n});
    const Tensor none;
    const bool keep = activation != Activation::none;
    const Tensor pre = keep ? bench.output("pre", {m, n}) : none;
    bench.ops().linear(x, w, bias, activation, pre, bench.output("y", {m, n}));
    bench.ops().linear(x, w, none, activation, none, bench.output("no bias", {m, n}));
    bench.ops().linear(x, w, bias, activation, none,
                       bench.output_of(DataType::f32, "y in f32", {m, n}));
  });
}

TEST_CASE("gradients of linear") {
  for_each_size(writes, [](Bench& bench, const Size& size, Write write) {
    const auto [m, n, k] = size;
    const Tensor x = bench.input({m, k});
    const Tensor w = bench.input({n, k});
    const Tensor dy = bench.input({m, n});
    bench.ops().linear_grad_input(dy, w, bench.gradient("dx", {m, k}, write));
    bench.ops().linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, write),
                                   bench.gradient("dbias", {n}, write));
    bench.ops().linear_grad_weight(dy, x, bench.gradient("dw alone", {n, k}, write), {});
    bench.ops().linear_grad_weight(dy, x, {}, bench.gradient("dbias alone", {n}, write));
    bench.ops().linear_grad_weight(dy, x,
                                   bench.gradient_of(DataType::f32, "dw in f32", {n, k}, write),
                                   bench.gradient_of(DataType::f32, "dbias in f32", {n}, write));
  });
}

TEST_CASE("products of factors of two types") {
  for (const Write write : writes) {
    CAPTURE(static_cast<int>(write));
    compare_with_reference([&](Bench& bench) {
      const DataType other = bench.type() == DataType::f32 ? DataType::bf16 : DataType::f32;
      const std::int64_t m = 33, n = 24, k = 40;
      const Tensor x = bench.input({m, k}), w = bench.input_of(other, {n, k});
      const Tensor dy = bench.input_of(other, {m, n});
      bench.ops().linear(x, w, bench.input({n}), Activation::gelu_tanh, bench.output("pre", {m, n}),
                         bench.output("y", {m, n}));
      bench.ops().linear_grad_input(dy, w, bench.gradient("dx", {m, k}, write));
      bench.ops().linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, write),
                                     bench.gradient("dbias", {n}, write));
    });
  }
}

TEST_CASE("products wide enough to be worked on in blocks of columns") {
  const std::int64_t m = 3, n = 257, k = 4100;
  compare_with_reference([&](Bench& bench) {
    const Tensor x = bench.input({m, k});
    const Tensor w = bench.input({n, k});
    const Tensor dy = bench.input({m, n});
    bench.ops().linear(x, w, bench.input({n}), Activation::silu, bench.output("pre", {m, n}),
                       bench.output("y", {m, n}));
    bench.ops().linear_grad_input(dy, w, bench.gradient("dx", {m, k}, Write::add));
    bench.ops().linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, Write::add), {});
  });
}

TEST_CASE("weight and bias gradients may be written differently") {
  compare_with_reference([&](Bench& bench) {
    const Tensor x = bench.input({33, 20});
    const Tensor dy = bench.input({33, 12});
    bench.ops().linear_grad_weight(dy, x, bench.gradient("dw", {12, 20}, Write::add),
                                   bench.gradient("dbias", {12}, Write::assign));
  });
}

TEST_CASE("adding a gradient is what the tensor held plus what assigning gives") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor x = bench.input({9, 5});
    const Tensor dy = bench.input({9, 4});
    const Gradient sum = bench.gradient("sum", {4, 5}, Write::add);
    const Gradient alone = bench.gradient("alone", {4, 5}, Write::assign);
    std::vector<double> want = values_of(sum.tensor);
    bench.ops().linear_grad_weight(dy, x, sum, {});
    bench.ops().linear_grad_weight(dy, x, alone, {});
    const std::vector<double> gradient = values_of(alone.tensor);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] += gradient[i];
    CHECK(relative_error(values_of(sum.tensor), want) < 1e-6);
  }
}

TEST_CASE("backward of the activations") {
  for (const std::int64_t elements : {1, 7, 70001}) {
    CAPTURE(elements);
    for (const Activation activation : activations) {
      CAPTURE(static_cast<int>(activation));
      compare_with_reference([&](Bench& bench) {
        const Tensor pre = bench.input({elements}, 4.0);
        const Tensor dy = bench.input({elements});
        bench.ops().activation_backward(activation, pre, dy, bench.output("dpre", {elements}));
        bench.ops().activation_backward(activation, pre, dy, dy);
        bench.compare("in place", dy);
      });
    }
  }
}

TEST_CASE("backward of an activation within a product") {
  for_each_size(activations, [](Bench& bench, const Size& size, Activation activation) {
    const auto [m, n, k] = size;
    const Tensor dy = bench.input({m, n}), w = bench.input({n, k});
    const Tensor pre = bench.input({m, k}, 4.0);
    bench.ops().linear_grad_activation(dy, w, activation, pre, bench.output("dpre", {m, k}));
  });
}

TEST_CASE("activations of large arguments are finite") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Ops& ops = tested.device->ops();
    const std::vector<double> arguments{-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4};
    auto make = [&](Shape shape, const std::vector<double>& values) {
      return tensor_of(*tested.device, shape, DataType::f32, values);
    };
    const Tensor x = make({7, 1}, arguments);
    const Tensor one = make({1, 1}, {1.0});
    const Tensor ones = make({7, 1}, std::vector<double>(7, 1.0));
    const Tensor y = make({7, 1}, std::vector<double>(7));
    for (const Activation activation : {Activation::gelu_tanh, Activation::silu}) {
      CAPTURE(static_cast<int>(activation));
      ops.linear(x, one, {}, activation, {}, y);
      const std::vector<double> relu{0.0, 0.0, 0.0, 0.0, 20.0, 100.0, 1e4};
      CHECK(relative_error(values_of(y), relu) < 1e-6);
      ops.activation_backward(activation, x, ones, y);
      const std::vector<double> slope{0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0};
      CHECK(relative_error(values_of(y), slope) < 1e-6);
    }
  }
}

TEST_CASE("swiglu") {
  for (const auto [m, n, k] : sizes) {
    CAPTURE(m);
    CAPTURE(n);
    compare_with_reference([&](Bench& bench) {
      const Tensor gate_up = bench.input({m, 2 * n}, 4.0);
      const Tensor dy = bench.input({m, n});
      bench.ops().swiglu(gate_up, bench.output("y", {m, n}));
      bench.ops().swiglu_backward(gate_up, dy, bench.output("dgate_up", {m, 2 * n}));
    });
  }
}

}  // namespace
}  // namespace train::test
