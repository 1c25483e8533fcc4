#include <cmath>

#include <doctest/doctest.h>

#include "libtrain/tensor/philox.hpp"
#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr AttentionShape shapes[] = {
    {.batch = 1, .context = 1, .heads = 1, .kv_heads = 1, .head_width = 2},
    {.batch = 2, .context = 5, .heads = 3, .kv_heads = 3, .head_width = 16},
    {.batch = 1, .context = 64, .heads = 6, .kv_heads = 2, .head_width = 10},
    {.batch = 2, .context = 130, .heads = 6, .kv_heads = 3, .head_width = 8},
    {.batch = 1, .context = 130, .heads = 3, .kv_heads = 1, .head_width = 64},
    {.batch = 3, .context = 33, .heads = 1, .kv_heads = 1, .head_width = 48},
};

template <typename Body>
void for_each_shape(Body&& body) {
  for (const AttentionShape& shape : shapes) {
    CAPTURE(shape.batch);
    CAPTURE(shape.context);
    CAPTURE(shape.heads);
    CAPTURE(shape.kv_heads);
    CAPTURE(shape.head_width);
    body(shape);
  }
}

Shape qkv_shape(const AttentionShape& shape) {
  return {shape.batch * shape.context, shape.qkv_width()};
}
Shape out_shape(const AttentionShape& shape) {
  return {shape.batch * shape.context, shape.out_width()};
}
Shape lse_shape(const AttentionShape& shape) {
  return {shape.batch, shape.heads, shape.context};
}

TEST_CASE("rotary") {
  for_each_shape([](const AttentionShape& shape) {
    compare_with_reference([&](Bench& bench) {
      const Tensor turned = bench.input(qkv_shape(shape));
      bench.ops().rotary(turned, shape, 0, 10000.0f, false);
      bench.compare("turned", turned);
      const Tensor late = bench.input(qkv_shape(shape));
      bench.ops().rotary(late, shape, 1000, 500000.0f, true);
      bench.compare("turned back from position 1000", late);
      const RotaryScaling scaling{.factor = 8.0f, .original_context = 100};
      const Tensor scaled = bench.input(qkv_shape(shape));
      bench.ops().rotary(scaled, shape, 50, {10000.0f, scaling}, false);
      bench.compare("turned with scaled frequencies", scaled);
    });
  });
}

TEST_CASE("rotary's inverse undoes it and leaves values alone") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    const AttentionShape shape{
        .batch = 2, .context = 9, .heads = 4, .kv_heads = 2, .head_width = 6};
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor qkv = bench.input(qkv_shape(shape));
    const std::vector<double> before = values_of(qkv);
    bench.ops().rotary(qkv, shape, 5, 10000.0f, false);
    const std::vector<double> turned = values_of(qkv);
    CHECK(relative_error(turned, before) > 0.1);
    const auto width = static_cast<std::size_t>(shape.qkv_width());
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (i % width >= 36) CHECK(turned[i] == before[i]);
    }
    bench.ops().rotary(qkv, shape, 5, 10000.0f, true);
    CHECK(relative_error(values_of(qkv), before) < 1e-6);
  }
}

TEST_CASE("attention and its backward") {
  for (const float probability : {0.0f, 0.3f}) {
    CAPTURE(probability);
    for_each_shape([&](const AttentionShape& shape) {
      compare_with_reference([&](Bench& bench) {
        const Dropout dropout{.probability = probability, .key = 5, .step = 3, .first_index = 7};
        const Tensor qkv = bench.input(qkv_shape(shape), 2.0);
        const Tensor dout = bench.input(out_shape(shape));
        const Tensor out = bench.output("out", out_shape(shape));
        const Tensor lse = bench.statistics("lse", lse_shape(shape));
        bench.ops().attention(qkv, shape, dropout, out, lse);
        bench.ops().attention_backward(qkv, shape, dropout, out, lse, dout,
                                       bench.output("dqkv", qkv_shape(shape)));
      });
    });
  }
}

// Widths between those that kernels are made for, and masks whose rows begin at multiples of four
// numbers: then neighbours may share what they draw.
constexpr AttentionShape wide_shapes[] = {
    {.batch = 2, .context = 72, .heads = 4, .kv_heads = 2, .head_width = 64},
    {.batch = 1, .context = 68, .heads = 2, .kv_heads = 1, .head_width = 96},
    {.batch = 1, .context = 40, .heads = 2, .kv_heads = 2, .head_width = 128},
    {.batch = 1, .context = 36, .heads = 2, .kv_heads = 1, .head_width = 201},
    {.batch = 1, .context = 68, .heads = 1, .kv_heads = 1, .head_width = 256},
};

TEST_CASE("attention of wide heads, with masks of whole groups of numbers") {
  for (const AttentionShape& shape : wide_shapes) {
    CAPTURE(shape.context);
    CAPTURE(shape.head_width);
    for (const float probability : {0.0f, 0.4f}) {
      CAPTURE(probability);
      compare_with_reference([&](Bench& bench) {
        const Dropout dropout{.probability = probability, .key = 8, .step = 2, .first_index = 12};
        const Tensor qkv = bench.input(qkv_shape(shape), 2.0);
        const Tensor dout = bench.input(out_shape(shape));
        const Tensor out = bench.output("out", out_shape(shape));
        const Tensor lse = bench.statistics("lse", lse_shape(shape));
        bench.ops().attention(qkv, shape, dropout, out, lse);
        bench.ops().attention_backward(qkv, shape, dropout, out, lse, dout,
                                       bench.output("dqkv", qkv_shape(shape)));
        const Shape cache{shape.batch, 2 * shape.context, shape.kv_heads * shape.head_width};
        const Tensor keys = bench.input(cache), values = bench.input(cache);
        bench.ops().attention_extend(qkv, shape, 17, keys, values,
                                     bench.output("extended", out_shape(shape)));
        bench.compare("keys", keys);
      });
    }
  }
}

TEST_CASE("attention with large scores is stable") {
  const AttentionShape shape{
      .batch = 1, .context = 70, .heads = 2, .kv_heads = 1, .head_width = 16};
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    Ops& ops = bench.ops();
    const Tensor qkv = bench.input(qkv_shape(shape), 100.0);
    const Tensor dout = bench.input(out_shape(shape));
    const Tensor out = bench.output("out", out_shape(shape));
    const Tensor lse = bench.statistics("lse", lse_shape(shape));
    const Tensor dqkv = bench.output("dqkv", qkv_shape(shape));
    ops.attention(qkv, shape, {}, out, lse);
    ops.attention_backward(qkv, shape, {}, out, lse, dout, dqkv);
    double largest = 0.0;
    for (const double value : values_of(lse)) largest = std::max(largest, value);
    CHECK(largest > 5000.0);  // exp of it is far beyond f32 and f64
    CHECK(ops.all_finite(out));
    CHECK(ops.all_finite(lse));
    CHECK(ops.all_finite(dqkv));
  }
}

TEST_CASE("attention sees no later position") {
  const AttentionShape shape{.batch = 1, .context = 40, .heads = 2, .kv_heads = 2, .head_width = 4};
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor qkv = bench.input(qkv_shape(shape));
    const Tensor out = bench.output("out", out_shape(shape));
    const Tensor lse = bench.statistics("lse", lse_shape(shape));
    bench.ops().attention(qkv, shape, {}, out, lse);
    const std::vector<std::byte> before = bytes_of(out.rows(0, 25));
    bench.ops().fill(qkv.rows(25, 40), 1e6f);
    bench.ops().attention(qkv, shape, {}, out, lse);
    CHECK(bytes_of(out.rows(0, 25)) == before);
  }
}

TEST_CASE("the mask of a head does not depend on how heads and sequences are cut") {
  const AttentionShape whole{.batch = 2, .context = 9, .heads = 1, .kv_heads = 1, .head_width = 4};
  AttentionShape half = whole;
  half.batch = 1;
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor qkv = bench.input(qkv_shape(whole));
    const Tensor out = bench.output("out", out_shape(whole));
    const Tensor lse = bench.statistics("lse", lse_shape(whole));
    Dropout dropout{.probability = 0.5f, .key = 1, .step = 2};
    bench.ops().attention(qkv, whole, dropout, out, lse);
    const std::vector<double> want = values_of(out.rows(9, 18));
    const Tensor second = bench.output("second", out_shape(half));
    dropout.first_index = 9 * 9;
    bench.ops().attention(qkv.rows(9, 18), half, dropout, second, lse.slice(0, {1, 1, 9}));
    CHECK(relative_error(values_of(second), want) < 1e-6);
  }
}

// Heads [begin, end) of `width` columns each, and the key/value heads that these read.
struct HeadPart {
  AttentionShape shape;
  std::int64_t first_head, first_kv_head;

  Tensor out_of(Device& device, const Tensor& out) const {
    const std::int64_t first = first_head * shape.head_width;
    return columns_of(device, out, first, first + shape.out_width());
  }
  // Rows of [query heads | key heads | value heads] of this part.
  Tensor qkv_of(Device& device, const AttentionShape& whole, const Tensor& qkv) const {
    const std::int64_t width = shape.head_width, kv_width = shape.kv_heads * width;
    const std::int64_t key = (whole.heads + first_kv_head) * width;
    const std::int64_t value = key + whole.kv_heads * width;
    const std::vector<double> heads[] = {
        values_of(
            columns_of(device, qkv, first_head * width, first_head * width + shape.out_width())),
        values_of(columns_of(device, qkv, key, key + kv_width)),
        values_of(columns_of(device, qkv, value, value + kv_width))};
    std::vector<double> rows;
    for (std::int64_t row = 0; row < shape.batch * shape.context; ++row) {
      for (const std::vector<double>& part : heads) {
        const auto columns = static_cast<std::int64_t>(part.size()) / (shape.batch * shape.context);
        rows.insert(rows.end(), part.begin() + row * columns, part.begin() + (row + 1) * columns);
      }
    }
    return tensor_of(device, qkv_shape(shape), qkv.type(), rows);
  }
};

// The first `kv_heads` key/value heads with their query heads, and the others.
std::vector<HeadPart> split_heads(const AttentionShape& whole, std::int64_t kv_heads) {
  const std::int64_t group = whole.heads / whole.kv_heads;
  HeadPart first{whole, 0, 0}, second{whole, kv_heads * group, kv_heads};
  first.shape.all_heads = second.shape.all_heads = whole.heads;
  first.shape.kv_heads = kv_heads;
  first.shape.heads = kv_heads * group;
  second.shape.kv_heads = whole.kv_heads - kv_heads;
  second.shape.heads = whole.heads - kv_heads * group;
  return {first, second};
}

TEST_CASE("attention of some heads gives the whole's columns, with the whole's mask") {
  constexpr AttentionShape wholes[] = {
      {.batch = 2, .context = 70, .heads = 3, .kv_heads = 3, .head_width = 6},
      {.batch = 3, .context = 9, .heads = 8, .kv_heads = 4, .head_width = 4},
      {.batch = 2, .context = 5, .heads = 2, .kv_heads = 1, .head_width = 4}};
  for (const NamedDevice& tested : all_devices()) {
    for (const AttentionShape& whole : wholes) {
      INFO("device: ", tested.name);
      CAPTURE(whole.heads);
      Device& device = *tested.device;
      Bench bench(device, DataType::f32, 0);
      const Dropout dropout{.probability = 0.4f, .key = 9, .step = 4, .first_index = 5};
      const Tensor qkv = bench.input(qkv_shape(whole), 2.0);
      const Tensor dout = bench.input(out_shape(whole));
      const Tensor out = bench.output("out", out_shape(whole));
      const Tensor lse = bench.statistics("lse", lse_shape(whole));
      const Tensor dqkv = bench.output("dqkv", qkv_shape(whole));
      bench.ops().attention(qkv, whole, dropout, out, lse);
      bench.ops().attention_backward(qkv, whole, dropout, out, lse, dout, dqkv);
      for (const HeadPart& part : split_heads(whole, 1)) {
        CAPTURE(part.first_head);
        Dropout own = dropout;
        own.first_index += part.first_head * whole.context * whole.context;
        const Tensor own_qkv = part.qkv_of(device, whole, qkv);
        const Tensor own_dout = part.out_of(device, dout);
        const Tensor own_out = bench.output("part's out", out_shape(part.shape));
        const Tensor own_lse = bench.statistics("part's lse", lse_shape(part.shape));
        const Tensor own_dqkv = bench.output("part's dqkv", qkv_shape(part.shape));
        bench.ops().attention(own_qkv, part.shape, own, own_out, own_lse);
        bench.ops().attention_backward(own_qkv, part.shape, own, own_out, own_lse, own_dout,
                                       own_dqkv);
        CHECK(bytes_of(own_out) == bytes_of(part.out_of(device, out)));
        CHECK(bytes_of(own_dqkv) == bytes_of(part.qkv_of(device, whole, dqkv)));
      }
    }
  }
}

TEST_CASE("attention's mask is the stream's numbers in the order of the interface") {
  // Equal scores, and values that are unit vectors: out[i][j] = mask[i][j] · 2 / (i + 1).
  const AttentionShape shape{.batch = 2, .context = 5, .heads = 3, .kv_heads = 3, .head_width = 5};
  const Dropout dropout{.probability = 0.5f, .key = 77, .step = 6, .first_index = 3};
  std::vector<double> rows(10 * 45);
  std::vector<double> want(10 * 15);
  for (std::size_t row = 0; row < 10; ++row) {
    for (std::size_t head = 0; head < 3; ++head) {
      const std::size_t b = row / 5;
      const std::size_t i = row % 5;
      rows[row * 45 + 30 + head * 5 + i] = 1.0;
      for (std::size_t j = 0; j <= i; ++j) {
        const std::size_t number = ((b * 3 + head) * 5 + i) * 5 + j + 3;
        const bool kept = uniform_from_bits(Philox::block(77, 6, number / 4)[number % 4]) > 0.5f;
        if (kept) want[row * 15 + head * 5 + j] = 2.0 / static_cast<double>(i + 1);
      }
    }
  }
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor qkv = tensor_of(*tested.device, qkv_shape(shape), DataType::f32, rows);
    const Tensor out = bench.output("out", out_shape(shape));
    bench.ops().attention(qkv, shape, dropout, out, bench.statistics("lse", lse_shape(shape)));
    CHECK(relative_error(values_of(out), want) < 1e-6);
  }
}

TEST_CASE("attention extended by new positions") {
  for_each_shape([](const AttentionShape& shape) {
    compare_with_reference([&](Bench& bench) {
      const Shape cache{shape.batch, 2 * shape.context + 1, shape.kv_heads * shape.head_width};
      const Tensor keys = bench.input(cache);
      const Tensor values = bench.input(cache);
      AttentionShape one = shape;
      one.context = 1;
      std::int64_t position = 0;
      for (const AttentionShape& extension : {shape, one, shape}) {
        const Tensor qkv = bench.input(qkv_shape(extension), 2.0);
        bench.ops().attention_extend(qkv, extension, position, keys, values,
                                     bench.output("out", out_shape(extension)));
        position += extension.context;
      }
      bench.compare("keys", keys);
      bench.compare("values", values);
    });
  });
}

TEST_CASE("attention extended over caches of another type") {
  for_each_shape([](const AttentionShape& shape) {
    compare_with_reference([&](Bench& bench) {
      const DataType other = bench.type() == DataType::f32 ? DataType::bf16 : DataType::f32;
      const Shape cache{shape.batch, shape.context + 3, shape.kv_heads * shape.head_width};
      const Tensor keys = bench.input_of(other, cache), values = bench.input_of(other, cache);
      // Numbers that both types hold, so that it does not matter which copy is read.
      const Tensor qkv = bench.input(qkv_shape(shape));
      bench.ops().convert(bench.input_of(DataType::bf16, qkv_shape(shape), 2.0), qkv);
      bench.ops().attention_extend(qkv, shape, 3, keys, values,
                                   bench.output_of(bench.type(), "out", out_shape(shape)));
      bench.compare("keys", keys);
      bench.compare("values", values);
    });
  });
}

// Rows begin … end-1 of each sequence of a [batch·context, width] tensor.
std::vector<double> positions_of(const Tensor& rows, std::int64_t batch, std::int64_t begin,
                                 std::int64_t end) {
  const std::int64_t context = rows.shape()[0] / batch;
  std::vector<double> values;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (const double value : values_of(rows.rows(b * context + begin, b * context + end))) {
      values.push_back(value);
    }
  }
  return values;
}

TEST_CASE("attention piece by piece gives what attention at once gives") {
  const AttentionShape shape{.batch = 2, .context = 11, .heads = 4, .kv_heads = 2, .head_width = 6};
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor qkv = bench.input(qkv_shape(shape));
    const Tensor out = bench.output("out", out_shape(shape));
    bench.ops().attention(qkv, shape, {}, out, bench.statistics("lse", lse_shape(shape)));

    const Shape cache{shape.batch, 13, shape.kv_heads * shape.head_width};
    const Tensor keys = bench.output("keys", cache);  // NaN where not yet written
    const Tensor values = bench.output("values", cache);
    std::int64_t begin = 0;
    for (const std::int64_t end : {4, 5, 6, 11}) {
      AttentionShape piece = shape;
      piece.context = end - begin;
      const Tensor new_rows = bench.output("rows", qkv_shape(piece));
      const Tensor new_out = bench.output("piece", out_shape(piece));
      set_values(new_rows, positions_of(qkv, shape.batch, begin, end));
      bench.ops().attention_extend(new_rows, piece, begin, keys, values, new_out);
      CAPTURE(begin);
      CHECK(relative_error(values_of(new_out), positions_of(out, shape.batch, begin, end)) < 1e-5);
      begin = end;
    }
  }
}

}  // namespace
}  // namespace train::test
