#include "tests/unit/ops/known_values.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// Every forward op against PyTorch's answers, on every device and on the reference itself.
namespace train::test {
namespace {

// The inputs of known_values.py: sin(start + 0.7 i).
class Waves {
 public:
  explicit Waves(const NamedDevice& tested) : device_(*tested.device) {}

  Ops& ops() const { return device_.ops(); }
  Tensor wave(Shape shape, double start = 0.0, double scale = 1.0) const {
    std::vector<double> values(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = scale * std::sin(start + 0.7 * static_cast<double>(i));
    }
    return tensor_of(device_, shape, DataType::f32, values);
  }
  Tensor one() const { return tensor_of(device_, {1, 1}, DataType::f32, {1.0}); }
  Tensor empty(Shape shape) const { return Tensor(device_.memory(), shape, DataType::f32); }

 private:
  Device& device_;
};

void check(const Tensor& got, const std::vector<double>& want) {
  CHECK(relative_error(values_of(got), want) < 1e-6);
}

template <typename Body>
void on_each_device(Body&& body) {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    body(Waves(tested));
  }
}

TEST_CASE("linear and activations") {
  on_each_device([](const Waves& at) {
    const Tensor y = at.empty({2, 4});
    at.ops().linear(at.wave({2, 3}), at.wave({4, 3}, 1.0), at.wave({4}, 2.0), Activation::none, {},
                    y);
    check(y, known::linear);
    const Tensor one = at.one();
    const Tensor activated = at.empty({8, 1});
    at.ops().linear(at.wave({8, 1}, 0.0, 4.0), one, {}, Activation::gelu_tanh, {}, activated);
    check(activated, known::gelu_tanh);
    at.ops().linear(at.wave({8, 1}, 0.0, 4.0), one, {}, Activation::silu, {}, activated);
    check(activated, known::silu);
    const Tensor gated = at.empty({2, 3});
    at.ops().swiglu(at.wave({2, 6}), gated);
    check(gated, known::swiglu);
  });
}

TEST_CASE("embedding") {
  on_each_device([](const Waves& at) {
    const Tensor y = at.empty({4, 2});
    at.ops().embedding(std::vector<std::int32_t>{2, 0, 1, 2}, at.wave({3, 2}), at.wave({3, 2}, 1.0),
                       {2, 1}, y);
    check(y, known::embedding);
  });
}

TEST_CASE("norms") {
  on_each_device([](const Waves& at) {
    const Tensor y = at.empty({2, 4});
    at.ops().layer_norm(at.wave({2, 4}), at.wave({4}, 1.0), at.wave({4}, 2.0), 1e-5f, y,
                        at.empty({2}), at.empty({2}));
    check(y, known::layer_norm);
    at.ops().rms_norm(at.wave({2, 4}), at.wave({4}, 1.0), 1e-5f, y, at.empty({2}));
    check(y, known::rms_norm);
  });
}

TEST_CASE("attention and rotary") {
  on_each_device([](const Waves& at) {
    const Tensor out = at.empty({3, 8});
    const Tensor lse = at.empty({1, 4, 3});
    at.ops().attention(at.wave({3, 16}),
                       {.batch = 1, .context = 3, .heads = 4, .kv_heads = 2, .head_width = 2}, {},
                       out, lse);
    check(out, known::attention);
    check(lse, known::attention_lse);
    const Tensor qkv = at.wave({2, 16});
    at.ops().rotary(qkv, {.batch = 1, .context = 2, .heads = 2, .kv_heads = 1, .head_width = 4}, 5,
                    10000.0f, false);
    check(qkv, known::rotary);
  });
}

TEST_CASE("cross entropy") {
  on_each_device([](const Waves& at) {
    const Tensor losses = at.empty({3});
    const Tensor dlogits = at.empty({3, 5});
    at.ops().cross_entropy(at.wave({3, 5}), std::vector<std::int32_t>{4, -1, 0}, 0.5f, losses,
                           dlogits);
    check(losses, known::cross_entropy);
    check(dlogits, known::cross_entropy_gradient);
  });
}

TEST_CASE("three steps of adamw") {
  on_each_device([](const Waves& at) {
    const Tensor parameter = at.wave({4});
    const Tensor m = at.wave({4}, 0.0, 0.0);
    const Tensor v = at.wave({4}, 0.0, 0.0);
    std::int64_t step = 1;
    for (const auto& want : {known::adamw_1, known::adamw_2, known::adamw_3}) {
      at.ops().adamw({parameter, {}, at.wave({4}, static_cast<double>(step)), m, v, 0.1f},
                     {.lr = 0.01f, .step = step});
      check(parameter, want);
      ++step;
    }
  });
}

}  // namespace
}  // namespace train::test
