#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// Logits whose rows have gaps where a device pads them. NaN lies in the gaps: it must reach
// nothing.
namespace train::test {
namespace {

struct Size {
  std::int64_t m, vocabulary;
  std::int64_t more;  // elements in a row than the device asks for: a multiple of a pack, or odd
};
constexpr Size sizes[] = {{3, 77, 0},   {3, 77, 8},   {3, 77, 3},    {33, 1001, 0}, {5, 1000, 0},
                          {4, 64, 8},   {7, 1, 0},    {1, 3, 0},     {2, 25129, 0}, {2, 50257, 0},
                          {65, 129, 0}, {2, 2055, 0}, {2, 2041, 16}, {257, 130, 0}};
constexpr Write writes[] = {Write::assign, Write::add};

// Of at most so many columns.
template <typename Use>
void for_each_size(std::int64_t vocabulary_max, const Use& use) {
  for (const Size& size : sizes) {
    if (size.vocabulary > vocabulary_max) continue;
    CAPTURE(size.m);
    CAPTURE(size.vocabulary);
    CAPTURE(size.more);
    compare_with_reference([&](Bench& bench) { use(bench, size); });
  }
}

std::vector<std::int32_t> targets_of(Bench& bench, const Size& size) {
  std::vector<std::int32_t> targets =
      bench.tokens(size.m, static_cast<std::int32_t>(size.vocabulary));
  targets[0] = static_cast<std::int32_t>(size.vocabulary) - 1;  // beside the gap
  if (size.m > 1) targets[static_cast<std::size_t>(size.m) / 2] = -1;
  return targets;
}

TEST_CASE("a device pads rows to a width that holds them") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    const Ops& ops = tested.device->ops();
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      CHECK(ops.padded_width(0, type) == 0);
      for (const std::int64_t width : {1, 64, 77, 50257}) {
        CHECK(ops.padded_width(width, type) >= width);
        CHECK(ops.padded_width(ops.padded_width(width, type), type) ==
              ops.padded_width(width, type));
      }
    }
  }
}

TEST_CASE("cross entropy of padded rows") {
  for_each_size(60000, [](Bench& bench, const Size& size) {
    const Shape shape{size.m, size.vocabulary};
    const std::vector<std::int32_t> targets = targets_of(bench, size);
    const float scale = 1.0f / static_cast<float>(size.m);
    const Tensor logits = bench.padded_input_of(bench.type(), shape, 5.0, size.more);
    const Tensor wide = bench.padded_input_of(DataType::f32, shape, 5.0, size.more);
    Ops& ops = bench.ops();
    ops.cross_entropy(logits, targets, scale, bench.statistics("loss alone", {size.m}), {});
    ops.cross_entropy(logits, targets, scale, bench.statistics("losses", {size.m}),
                      bench.padded_output_of(bench.type(), "dlogits", shape, size.more));
    ops.cross_entropy(logits, targets, scale, bench.statistics("losses of no gaps", {size.m}),
                      bench.output("dlogits without gaps", shape));
    ops.cross_entropy(wide, targets, scale, bench.statistics("losses of f32", {size.m}),
                      bench.padded_output_of(DataType::bf16, "in bf16", shape, size.more));
    ops.cross_entropy(logits, targets, scale, bench.statistics("losses again", {size.m}), logits);
    bench.compare("in place", logits);
  });
}

TEST_CASE("cross entropy of padded rows in parts") {
  for_each_size(60000, [](Bench& bench, const Size& size) {
    const Shape shape{size.m, size.vocabulary};
    const std::vector<std::int32_t> targets = targets_of(bench, size);
    std::vector<float> scale(static_cast<std::size_t>(size.m), 0.125f);
    if (size.m > 2) scale[2] = 0.0f;
    Ops& ops = bench.ops();
    for (const DataType type : {bench.type(), DataType::f32}) {
      const Tensor logits = bench.padded_input_of(type, shape, 5.0, size.more);
      const Tensor maximum = bench.statistics("maximum", {size.m});
      const Tensor sums = bench.statistics("sums", {2, size.m});
      ops.row_maximum(logits, maximum);
      ops.cross_entropy_parts(logits, targets, maximum, sums);
      ops.cross_entropy_gradient(logits, targets, maximum, sums, scale,
                                 bench.padded_output_of(bench.type(), "dlogits", shape, size.more));
      ops.cross_entropy_gradient(logits, targets, maximum, sums, scale, logits);
      bench.compare("in place", logits);
    }
  });
}

TEST_CASE("products into padded rows, and of them") {
  for_each_size(3000, [](Bench& bench, const Size& size) {
    const std::int64_t m = size.m, n = size.vocabulary, k = 16;
    const Tensor x = bench.input({m, k}), w = bench.input({n, k}), bias = bench.input({n});
    const auto output = [&](DataType type, const char* name) {
      return bench.padded_output_of(type, name, {m, n}, size.more);
    };
    Ops& ops = bench.ops();
    ops.linear(x, w, {}, Activation::none, {}, output(bench.type(), "y"));
    ops.linear(x, w, {}, Activation::none, {}, output(DataType::f32, "y in f32"));
    for (const Activation activation : {Activation::gelu_tanh, Activation::silu}) {
      ops.linear(x, w, bias, activation, bench.output("pre", {m, n}), output(bench.type(), "y"));
      ops.linear(x, w, bias, activation, {}, output(DataType::f32, "y in f32"));
    }
    for (const Write write : writes) {
      const Tensor dy = bench.padded_input_of(bench.type(), {m, n}, 1.0, size.more);
      ops.linear_grad_input(dy, w, bench.gradient("dx", {m, k}, write));
      ops.linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, write),
                             bench.gradient("dbias", {n}, write));
      ops.linear_grad_weight(dy, x, bench.gradient_of(DataType::f32, "dw in f32", {n, k}, write),
                             {});
    }
  });
}

TEST_CASE("padded rows as factors of another type") {
  for_each_size(3000, [](Bench& bench, const Size& size) {
    const std::int64_t m = size.m, n = size.vocabulary, k = 16;
    const DataType other = bench.type() == DataType::f32 ? DataType::bf16 : DataType::f32;
    const Tensor x = bench.input({m, k}), w = bench.input_of(other, {n, k});
    bench.ops().linear(x, w, bench.input({n}), Activation::none, {},
                       bench.padded_output_of(bench.type(), "y", {m, n}, size.more));
    const Tensor dy = bench.padded_input_of(other, {m, n}, 1.0, size.more);
    bench.ops().linear_grad_input(dy, w, bench.gradient("dx", {m, k}, Write::add));
    bench.ops().linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, Write::add),
                                   bench.gradient("dbias", {n}, Write::add));
  });
}

}  // namespace
}  // namespace train::test
