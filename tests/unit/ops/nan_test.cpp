#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// A NaN that an op swallows lets a broken run go on unnoticed: maxima, clamps and fast exponentials
// like to do that. Each op gets one NaN and must hand one on.
namespace train::test {
namespace {

bool has_nan(const Tensor& tensor) {
  for (const double value : values_of(tensor)) {
    if (std::isnan(value)) return true;
  }
  return false;
}

class Poison {
 public:
  Poison(const NamedDevice& tested, DataType type) : device_(*tested.device), type_(type) {}

  Ops& ops() const { return device_.ops(); }
  Tensor ones(Shape shape) const { return filled(shape, type_, 1.0); }
  Tensor zeros(Shape shape) const { return filled(shape, type_, 0.0); }
  Tensor f32(Shape shape) const { return filled(shape, DataType::f32, 0.5); }
  /// Ones, but a NaN at `place`.
  Tensor poisoned(Shape shape, std::size_t place) const {
    const Tensor tensor = ones(shape);
    std::vector<double> values = values_of(tensor);
    values.at(place) = std::numeric_limits<double>::quiet_NaN();
    set_values(tensor, values);
    return tensor;
  }

 private:
  Tensor filled(Shape shape, DataType type, double value) const {
    return tensor_of(device_, shape, type,
                     std::vector<double>(static_cast<std::size_t>(shape.elements()), value));
  }

  Device& device_;
  DataType type_;
};

template <typename Body>
void on_each_device(Body&& body) {
  for (const NamedDevice& tested : all_devices()) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      INFO("device: ", tested.name, ", type: ", std::string(name_of(type)));
      body(Poison(tested, type));
    }
  }
}

TEST_CASE("linear and activations hand a NaN on") {
  on_each_device([](const Poison& with) {
    for (const Activation activation :
         {Activation::none, Activation::gelu_tanh, Activation::silu}) {
      CAPTURE(static_cast<int>(activation));
      for (const bool keep : {false, true}) {
        const Tensor y = with.zeros({3, 20});
        const Tensor pre = keep ? with.zeros({3, 20}) : Tensor();
        with.ops().linear(with.poisoned({3, 5}, 7), with.ones({20, 5}), with.ones({20}), activation,
                          pre, y);
        CHECK(has_nan(y.rows(1, 2)));
        CHECK_FALSE(has_nan(y.rows(0, 1)));
      }
      const Tensor dpre = with.zeros({33});
      with.ops().activation_backward(activation, with.ones({33}), with.poisoned({33}, 32), dpre);
      CHECK(has_nan(dpre));
    }
    const Tensor dpre = with.zeros({33});
    with.ops().activation_backward(Activation::gelu_tanh, with.poisoned({33}, 1), with.ones({33}),
                                   dpre);
    CHECK(has_nan(dpre));
    const Tensor gated = with.zeros({1, 9});
    with.ops().swiglu(with.poisoned({1, 18}, 2), gated);
    CHECK(has_nan(gated));
    const Tensor dx = with.zeros({3, 5});
    const Tensor dw = with.zeros({20, 5});
    const Tensor dbias = with.zeros({20});
    const Tensor dy = with.poisoned({3, 20}, 21);
    with.ops().linear_grad_input(dy, with.ones({20, 5}), {dx});
    with.ops().linear_grad_weight(dy, with.ones({3, 5}), {dw}, {dbias});
    CHECK(has_nan(dx));
    CHECK(has_nan(dw));
    CHECK(has_nan(dbias));
  });
}

TEST_CASE("norms hand a NaN on") {
  on_each_device([](const Poison& with) {
    const Shape shape{2, 19};
    const Tensor y = with.zeros(shape);
    const Tensor mean = with.f32({2});
    const Tensor rstd = with.f32({2});
    with.ops().layer_norm(with.poisoned(shape, 25), with.ones({19}), {}, 1e-5f, y, mean, rstd);
    CHECK(has_nan(y));
    CHECK(has_nan(rstd));
    with.ops().rms_norm(with.poisoned(shape, 25), with.ones({19}), 1e-5f, y, rstd);
    CHECK(has_nan(y));
    CHECK(has_nan(rstd));
    const Tensor sum = with.zeros(shape);
    with.ops().add_layer_norm(with.ones(shape), with.poisoned(shape, 25), with.ones({19}), {},
                              1e-5f, sum, y, mean, rstd);
    CHECK(has_nan(sum));
    CHECK(has_nan(y));
    with.ops().add_rms_norm(with.poisoned(shape, 25), with.ones(shape), with.ones({19}), 1e-5f, sum,
                            y, rstd);
    CHECK(has_nan(sum));
    CHECK(has_nan(y));
    const Tensor dx = with.zeros(shape);
    with.ops().layer_norm_backward(with.poisoned(shape, 3), with.ones(shape), with.ones({19}),
                                   with.f32({2}), with.f32({2}), {dx}, {}, {});
    CHECK(has_nan(dx));
    with.ops().rms_norm_backward(with.poisoned(shape, 3), with.ones(shape), with.ones({19}),
                                 with.f32({2}), {dx}, {});
    CHECK(has_nan(dx));
  });
}

TEST_CASE("attention hands a NaN on, from queries, keys and values") {
  const AttentionShape shape{.batch = 1, .context = 3, .heads = 1, .kv_heads = 1, .head_width = 8};
  on_each_device([&](const Poison& with) {
    for (const std::size_t place : {0, 8, 16}) {
      CAPTURE(place);
      const Tensor qkv = with.poisoned({3, 24}, place);
      const Tensor out = with.zeros({3, 8});
      const Tensor lse = with.f32({1, 1, 3});
      with.ops().attention(qkv, shape, {}, out, lse);
      CHECK(has_nan(out.rows(0, 1)));
      const Tensor dqkv = with.zeros({3, 24});
      with.ops().attention_backward(qkv, shape, {}, out, lse, with.ones({3, 8}), dqkv);
      CHECK(has_nan(dqkv));
      const Tensor extended = with.zeros({3, 8});
      with.ops().attention_extend(qkv, shape, 0, with.zeros({1, 4, 8}), with.zeros({1, 4, 8}),
                                  extended);
      CHECK(has_nan(extended.rows(0, 1)));
    }
    // Memory that an op used for a NaN is used again: nothing of it may come back.
    const Tensor out = with.zeros({3, 8});
    const Tensor lse = with.f32({1, 1, 3});
    const Tensor dqkv = with.zeros({3, 24});
    with.ops().attention(with.ones({3, 24}), shape, {}, out, lse);
    with.ops().attention_backward(with.ones({3, 24}), shape, {}, out, lse, with.ones({3, 8}), dqkv);
    CHECK_FALSE(has_nan(out));
    CHECK_FALSE(has_nan(dqkv));
    const Tensor turned = with.poisoned({3, 24}, 24);
    with.ops().rotary(turned, shape, 0, 10000.0f, false);
    CHECK(has_nan(turned));
  });
}

TEST_CASE("the loss of a row with a NaN or an infinite logit is no number") {
  on_each_device([](const Poison& with) {
    const std::vector<std::int32_t> targets{0, 1};
    for (const std::size_t place : {11, 12, 21}) {
      CAPTURE(place);
      const Tensor logits = with.poisoned({2, 11}, place);
      const Tensor losses = with.f32({2});
      const Tensor dlogits = with.zeros({2, 11});
      with.ops().cross_entropy(logits, targets, 1.0f, losses, dlogits);
      CHECK(std::isnan(values_of(losses)[1]));
      CHECK(std::isfinite(values_of(losses)[0]));
      CHECK(has_nan(dlogits.rows(1, 2)));
      std::vector<double> values = values_of(logits);
      values[place] = std::numeric_limits<double>::infinity();
      set_values(logits, values);
      with.ops().cross_entropy(logits, targets, 1.0f, losses, dlogits);
      CHECK_FALSE(std::isfinite(values_of(losses)[1]));
      CHECK(has_nan(dlogits.rows(1, 2)));
    }
  });
}

TEST_CASE("elementwise ops, embedding and adamw hand a NaN on") {
  on_each_device([](const Poison& with) {
    const Tensor bad = with.poisoned({40}, 39);
    const Tensor y = with.zeros({40});
    with.ops().add(with.ones({40}), bad, y);
    CHECK(has_nan(y));
    with.ops().convert(bad, y);
    CHECK(has_nan(y));
    with.ops().scale(bad, 0.0f);
    CHECK(has_nan(bad));
    with.ops().dropout(with.poisoned({40}, 0), {}, y);
    CHECK(has_nan(y));
    const Tensor rows = with.zeros({2, 20});
    with.ops().embedding(std::vector<std::int32_t>{0, 1}, with.poisoned({2, 20}, 20), {}, {2},
                         rows);
    CHECK(has_nan(rows));
    const Tensor parameter = with.f32({40});
    with.ops().adamw({parameter, {}, with.poisoned({40}, 5), with.f32({40}), with.f32({40})},
                     {.lr = 0.1f});
    CHECK(has_nan(parameter));
  });
}

}  // namespace
}  // namespace train::test
