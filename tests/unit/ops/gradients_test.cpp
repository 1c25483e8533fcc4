#include <doctest/doctest.h>

#include "tests/unit/ops/support.hpp"

// Every backward op of the reference against central differences of its forward op, in f64. The
// loss is the output's product with random numbers, which are therefore the output's gradient.
namespace train::test {
namespace {

class Differences {
 public:
  Ops& ops() { return device_->ops(); }
  Tensor input(Shape shape, double scale = 1.0) { return bench_.input(shape, scale); }
  Tensor output(Shape shape) { return bench_.output("", shape); }
  Gradient gradient(Shape shape) { return {output(shape)}; }

 private:
  std::unique_ptr<Device> device_ = make_reference_device();
  Bench bench_{*device_, DataType::f64, 0};
};

constexpr Activation activations[] = {Activation::none, Activation::gelu_tanh, Activation::silu};

TEST_CASE_FIXTURE(Differences, "gradients of linear with its activation") {
  const Tensor x = input({5, 7});
  const Tensor w = input({3, 7});
  const Tensor bias = input({3});
  const Tensor dy = input({5, 3});
  const Tensor y = output({5, 3});
  const Tensor pre = output({5, 3});
  for (const Activation activation : activations) {
    CAPTURE(static_cast<int>(activation));
    auto loss = [&] {
      ops().linear(x, w, bias, activation, pre, y);
      return dot(y, dy);
    };
    loss();
    const Tensor dpre = output({5, 3});
    ops().activation_backward(activation, pre, dy, dpre);
    const Gradient dx = gradient({5, 7});
    const Gradient dw = gradient({3, 7});
    const Gradient dbias = gradient({3});
    ops().linear_grad_input(dpre, w, dx);
    ops().linear_grad_weight(dpre, x, dw, dbias);
    check_gradient("dx", x, dx.tensor, loss);
    check_gradient("dw", w, dw.tensor, loss);
    check_gradient("dbias", bias, dbias.tensor, loss);
  }
}

TEST_CASE_FIXTURE(Differences, "gradient of swiglu") {
  const Tensor gate_up = input({4, 10}, 3.0);
  const Tensor dy = input({4, 5});
  const Tensor y = output({4, 5});
  const Tensor dgate_up = output({4, 10});
  ops().swiglu_backward(gate_up, dy, dgate_up);
  check_gradient("dgate_up", gate_up, dgate_up, [&] {
    ops().swiglu(gate_up, y);
    return dot(y, dy);
  });
}

TEST_CASE_FIXTURE(Differences, "gradients of embedding") {
  const std::vector<std::int32_t> tokens{3, 0, 3, 1, 3, 0};
  const Tensor table = input({4, 5});
  const Tensor positions = input({4, 5});
  const Tensor dy = input({6, 5});
  const Tensor y = output({6, 5});
  const Gradient dtable = gradient({4, 5});
  const Gradient dpositions = gradient({4, 5});
  ops().embedding_backward(tokens, dy, {3}, dtable, dpositions);
  auto loss = [&] {
    ops().embedding(tokens, table, positions, {3}, y);
    return dot(y, dy);
  };
  check_gradient("dtable", table, dtable.tensor, loss);
  check_gradient("dpositions", positions, dpositions.tensor, loss);
}

TEST_CASE_FIXTURE(Differences, "gradients of layer norm") {
  const Tensor x = input({4, 9}, 2.0);
  const Tensor weight = input({9});
  const Tensor bias = input({9});
  const Tensor dy = input({4, 9});
  const Tensor y = output({4, 9});
  const Tensor mean = output({4});
  const Tensor rstd = output({4});
  auto loss = [&] {
    ops().layer_norm(x, weight, bias, 1e-5f, y, mean, rstd);
    return dot(y, dy);
  };
  loss();
  const Gradient dx = gradient({4, 9});
  const Gradient dweight = gradient({9});
  const Gradient dbias = gradient({9});
  ops().layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias);
  check_gradient("dx", x, dx.tensor, loss);
  check_gradient("dweight", weight, dweight.tensor, loss);
  check_gradient("dbias", bias, dbias.tensor, loss);
}

TEST_CASE_FIXTURE(Differences, "gradients of rms norm") {
  const Tensor x = input({4, 9}, 2.0);
  const Tensor weight = input({9});
  const Tensor dy = input({4, 9});
  const Tensor y = output({4, 9});
  const Tensor rstd = output({4});
  auto loss = [&] {
    ops().rms_norm(x, weight, 1e-5f, y, rstd);
    return dot(y, dy);
  };
  loss();
  const Gradient dx = gradient({4, 9});
  const Gradient dweight = gradient({9});
  ops().rms_norm_backward(dy, x, weight, rstd, dx, dweight);
  check_gradient("dx", x, dx.tensor, loss);
  check_gradient("dweight", weight, dweight.tensor, loss);
}

TEST_CASE_FIXTURE(Differences, "gradient of rotary is its inverse") {
  const AttentionShape shape{.batch = 2, .context = 3, .heads = 2, .kv_heads = 1, .head_width = 4};
  const Tensor qkv = input({6, shape.qkv_width()});
  const Tensor dy = input({6, shape.qkv_width()});
  const Tensor y = output({6, shape.qkv_width()});
  const Tensor dqkv = output({6, shape.qkv_width()});
  ops().convert(dy, dqkv);
  ops().rotary(dqkv, shape, 2, 100.0f, true);
  check_gradient("dqkv", qkv, dqkv, [&] {
    ops().convert(qkv, y);
    ops().rotary(y, shape, 2, 100.0f, false);
    return dot(y, dy);
  });
}

TEST_CASE_FIXTURE(Differences, "gradient of attention") {
  for (const float probability : {0.0f, 0.4f}) {
    CAPTURE(probability);
    const AttentionShape shape{
        .batch = 2, .context = 6, .heads = 4, .kv_heads = 2, .head_width = 3};
    const Dropout dropout{.probability = probability, .key = 8, .step = 1, .first_index = 2};
    const Tensor qkv = input({12, shape.qkv_width()}, 2.0);
    const Tensor dout = input({12, shape.out_width()});
    const Tensor out = output({12, shape.out_width()});
    const Tensor lse = output({2, 4, 6});
    const Tensor dqkv = output({12, shape.qkv_width()});
    auto loss = [&] {
      ops().attention(qkv, shape, dropout, out, lse);
      return dot(out, dout);
    };
    loss();
    ops().attention_backward(qkv, shape, dropout, out, lse, dout, dqkv);
    check_gradient("dqkv", qkv, dqkv, loss);
  }
}

TEST_CASE_FIXTURE(Differences, "gradient of dropout is dropout") {
  const Dropout dropout{.probability = 0.3f, .key = 8, .step = 1, .first_index = 1};
  const Tensor x = input({50});
  const Tensor dy = input({50});
  const Tensor y = output({50});
  const Tensor dx = output({50});
  ops().dropout(dy, dropout, dx);
  check_gradient("dx", x, dx, [&] {
    ops().dropout(x, dropout, y);
    return dot(y, dy);
  });
}

TEST_CASE_FIXTURE(Differences, "gradient of cross entropy") {
  const std::vector<std::int32_t> targets{2, -1, 0, 6};
  const Tensor logits = input({4, 7}, 3.0);
  const Tensor losses = output({4});
  const Tensor dlogits = output({4, 7});
  ops().cross_entropy(logits, targets, 0.25f, losses, dlogits);
  check_gradient("dlogits", logits, dlogits, [&] {
    ops().cross_entropy(logits, targets, 0.25f, losses, {});
    double sum = 0.0;
    for (const double loss : values_of(losses)) sum += loss;
    return 0.25 * sum;
  });
}

}  // namespace
}  // namespace train::test
