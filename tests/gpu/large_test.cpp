// Ops on so many elements that 32 bits do not count them (few, where a GPU is emulated): the last
// rows of a large tensor get what these rows get alone.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <vector>

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr std::int64_t large = TRAIN_LARGE_ELEMENTS;
// Of the tensors of one case at once, of bf16 or half as many of f32.
constexpr std::int64_t tensors_max = 5;

/// Hands an op its tensors: rows of which the last few hold waves, the others one value.
class Rows {
 public:
  Rows(Device& device, std::int64_t count, std::int64_t last)
      : device_(device), count_(count), last_(last) {}

  Ops& ops() const { return device_.ops(); }
  std::int64_t count() const { return count_; }
  /// One number per row, the last ones' different.
  template <typename T>
  std::vector<T> numbers(T value, T last) const {
    std::vector<T> all(static_cast<std::size_t>(count_), value);
    for (auto i = all.end() - last_; i != all.end(); ++i) *i = last;
    return all;
  }
  Tensor input(std::int64_t width, double value, DataType type = DataType::bf16) {
    const Tensor all(device_.memory(), {count_, width}, type);
    ops().fill(all, static_cast<float>(value));
    ops().convert(wave({last_, width}, type), last_of(all));
    return all;
  }
  /// The same whatever the rows, such as weights.
  Tensor wave(Shape shape, DataType type = DataType::bf16) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < shape.elements(); ++i) values.push_back(std::sin(++drawn_ * 0.7));
    return tensor_of(device_, shape, type, values);
  }
  Tensor output(std::int64_t width, DataType type = DataType::bf16) {
    const Tensor all(device_.memory(), {count_, width}, type);
    ops().fill(all, std::numeric_limits<float>::quiet_NaN());
    outputs_.push_back(last_of(all));
    return all;
  }
  /// Of all rows together.
  Gradient sum(Shape shape, DataType type = DataType::bf16) {
    const Tensor all(device_.memory(), shape, type);
    ops().fill(all, std::numeric_limits<float>::quiet_NaN());
    outputs_.push_back(all);
    return {all, Write::assign};
  }
  void compare(const Tensor& in_place) { outputs_.push_back(last_of(in_place)); }

  std::vector<std::vector<double>> results() const {
    std::vector<std::vector<double>> results;
    for (const Tensor& output : outputs_) results.push_back(values_of(output));
    return results;
  }

 private:
  Tensor last_of(const Tensor& all) const { return all.rows(count_ - last_, count_); }

  Device& device_;
  std::int64_t count_, last_;
  int drawn_ = 0;
  std::vector<Tensor> outputs_;
};

// Where there is no room for any case, the program is skipped (tests/gpu/CMakeLists.txt).
void require_room() {
  std::size_t free = 0, total = 0;
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  const auto wanted = static_cast<std::size_t>(2 * tensors_max * large);
  if (free > wanted) return;
  std::printf("skipped: the GPU has %zu bytes free, and %zu are wanted\n", free, wanted);
  std::exit(77);
}

// `width` is that of the widest tensor, which has `elements` and some, of whole groups of `last`
// rows.
void check_last_rows(std::int64_t width, std::int64_t last, const std::function<void(Rows&)>& body,
                     std::int64_t elements = large, double tolerance = 0.0) {
  require_room();
  for (const NamedDevice& tested : devices_to_compare()) {
    INFO("device: ", tested.name);
    const auto results = [&](std::int64_t count) {
      Rows rows(*tested.device, count, last);
      body(rows);
      return rows.results();
    };
    const auto want = results(last), got = results((elements / width / last + 1) * last);
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(relative_error(got[i], want[i]) <= tolerance);
    }
  }
}

TEST_CASE("element by element") {
  check_last_rows(8, 1, [](Rows& rows) {
    const Tensor a = rows.input(8, 1.0), b = rows.input(8, 2.0), y = rows.output(8);
    rows.ops().add(a, b, y);
    rows.ops().scale(a, 3.0f);
    rows.compare(a);
    rows.ops().activation_backward(Activation::gelu_tanh, a, b, b);
    rows.compare(b);
    Dropout dropout{.probability = 0.5f, .key = 1, .step = 2};
    dropout.first_index = std::uint64_t{1} << 40;  // of the last row
    dropout.first_index -= static_cast<std::uint64_t>(rows.count() - 1) * 8;
    const Tensor dropped = rows.output(8);
    rows.ops().dropout(b, dropout, dropped);
  });
  check_last_rows(
      8, 1,
      [](Rows& rows) { rows.ops().convert(rows.input(8, 1.0), rows.output(8, DataType::f32)); },
      large / 2);
  check_last_rows(2048, 1, [](Rows& rows) {
    const Tensor gate_up = rows.input(2048, 1.0), y = rows.output(1024);
    rows.ops().swiglu(gate_up, y);
    rows.ops().swiglu_backward(gate_up, y, gate_up);
    rows.compare(gate_up);
  });
}

TEST_CASE("norms") {
  check_last_rows(1024, 1, [](Rows& rows) {
    const Tensor x = rows.input(1024, 1.0), dy = rows.input(1024, 0.0), weight = rows.wave({1024});
    const Tensor mean = rows.output(1, DataType::f32), rstd = rows.output(1, DataType::f32);
    const Tensor y = rows.output(1024), dx = rows.output(1024), rms = rows.output(1024);
    rows.ops().layer_norm(x, weight, weight, 1e-5f, y, mean, rstd);
    rows.ops().layer_norm_backward(dy, x, weight, mean, rstd, {dx, Write::assign}, rows.sum({1024}),
                                   rows.sum({1024}));
    rows.ops().add_rms_norm(x, dy, weight, 1e-5f, x, rms, rstd);
    rows.compare(x);
    rows.ops().rms_norm_backward(dy, x, weight, rstd, {dy, Write::add}, rows.sum({1024}));
    rows.compare(dy);
  });
}

TEST_CASE("the loss") {
  for (const std::int64_t vocabulary : {std::int64_t{1000}, std::int64_t{20000}}) {
    check_last_rows(
        vocabulary, 1,
        [=](Rows& rows) {
          const Tensor logits = rows.input(vocabulary, 1.0, DataType::f32);
          const Tensor losses = rows.output(1, DataType::f32),
                       maximum = rows.output(1, DataType::f32);
          const Tensor dlogits = rows.output(vocabulary), again = rows.output(vocabulary);
          const auto targets = rows.numbers<std::int32_t>(-1, 7);
          rows.ops().cross_entropy(logits, targets, 0.5f, losses, dlogits);
          rows.ops().row_maximum(logits, maximum);
          const Tensor sums(logits.memory(), {2, rows.count()}, DataType::f32);
          rows.ops().cross_entropy_parts(logits, targets, maximum, sums);
          rows.ops().cross_entropy_gradient(logits, targets, maximum, sums,
                                            rows.numbers(0.0f, 0.5f), again);
        },
        large / 2);
  }
}

TEST_CASE("embedding") {
  check_last_rows(1024, 1, [](Rows& rows) {
    const auto tokens = rows.numbers<std::int32_t>(1, 5);
    const Tensor table = rows.wave({8, 1024}), y = rows.output(1024);
    rows.ops().embedding(tokens, table, {}, {1}, y);
    rows.ops().embedding_backward(tokens, rows.input(1024, 0.0), {1}, rows.sum({8, 1024}),
                                  rows.sum({1, 1024}));
  });
}

TEST_CASE("products") {
  constexpr std::int64_t n = 8192, k = 64;
  check_last_rows(
      n, 1,
      [](Rows& rows) {
        const Tensor x = rows.input(k, 1.0), w = rows.wave({n, k}), y = rows.output(n);
        rows.ops().linear(x, w, rows.wave({n}), Activation::gelu_tanh, {}, y);
        rows.ops().linear_grad_input(y, w, {rows.output(k), Write::assign});
        const Tensor dy = rows.input(n, 0.0);
        rows.ops().linear_grad_weight(dy, x, rows.sum({n, k}, DataType::f32),
                                      rows.sum({n}, DataType::f32));
      },
      large / 2, 1e-2);
}

TEST_CASE("a bias's gradient over many rows") {
  constexpr std::int64_t n = 128, k = 64;
  check_last_rows(
      n, 1,
      [](Rows& rows) {
        const Tensor dy = rows.input(n, 0.0), x = rows.input(k, 1.0);
        rows.ops().linear_grad_weight(dy, x, rows.sum({n, k}, DataType::f32),
                                      rows.sum({n}, DataType::f32));
      },
      large / 2, 1e-2);
}

TEST_CASE("attention") {
  // So long that there are no more sequences than a training has.
  constexpr std::int64_t context = large < (1 << 30) ? 64 : 1024;
  const auto body = [](Rows& rows) {
    const AttentionShape shape{.batch = rows.count() / context,
                               .context = context,
                               .heads = 2,
                               .kv_heads = 1,
                               .head_width = 64};
    const Tensor qkv = rows.input(shape.qkv_width(), 1.0), out = rows.output(shape.out_width());
    const Tensor lse(qkv.memory(), {shape.batch, shape.heads, context}, DataType::f32);
    const Tensor dout = rows.input(shape.out_width(), 0.0), dqkv = rows.output(shape.qkv_width());
    rows.ops().rotary(qkv, shape, 0, 10000.0f, false);
    rows.compare(qkv);
    rows.ops().attention(qkv, shape, {}, out, lse);
    rows.ops().attention_backward(qkv, shape, {}, out, lse, dout, dqkv);
  };
  check_last_rows(4 * 64, context, body, large, 1e-2);
}

}  // namespace
}  // namespace train::test
