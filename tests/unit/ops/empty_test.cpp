#include <functional>

#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

// A rank may hold no rows, columns, heads or words of the vocabulary.
namespace train::test {
namespace {

constexpr Activation activations[] = {Activation::none, Activation::gelu_tanh, Activation::silu};
constexpr Write writes[] = {Write::assign, Write::add};
const std::vector<std::int32_t> no_tokens;

template <typename Body>
void for_each_bench(Body&& body) {
  for (const NamedDevice& tested : all_devices()) {
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      INFO("device: ", tested.name, ", type: ", std::string(name_of(type)));
      Bench bench(*tested.device, type, 3);
      body(bench);
      CHECK(bench.guards_intact());
    }
  }
}

TEST_CASE("a product over no columns is its bias") {
  for (const Activation activation : activations) {
    CAPTURE(static_cast<int>(activation));
    for_each_bench([&](Bench& bench) {
      const Tensor x = bench.input({3, 0}), w = bench.input({20, 0}), none;
      const Tensor bias = bench.input({20});
      const Tensor y = bench.output("y", {3, 20}), pre = bench.output("pre", {3, 20});
      const Tensor want = bench.output("want", {1, 20});
      // The bias by way of a product that is not empty.
      bench.ops().linear(bench.input({1, 1}, 0.0), bench.input({20, 1}), bias, activation, {},
                         want);
      const auto check = [&](const Tensor& got, const Tensor& row) {
        for (std::int64_t m = 0; m < 3; ++m) {
          CHECK(relative_error(values_of(got.rows(m, m + 1)), values_of(row)) <= 1e-6);
        }
      };
      bench.ops().linear(x, w, bias, activation, {}, y);
      check(y, want);
      bench.ops().fill(y, 7.0f);
      bench.ops().linear(x, w, bias, activation, pre, y);
      check(y, want);
      check(pre, bias);
      bench.ops().linear(x, w, none, activation, {}, y);
      CHECK(values_of(y) == std::vector<double>(60, 0.0));
    });
  }
}

struct GradientOfNothing {
  std::string name;
  Shape shape;
  std::function<void(Bench&, const Gradient&)> use;
};
const GradientOfNothing gradients_of_nothing[] = {
    {"linear_grad_input, N = 0",
     {3, 5},
     [](Bench& with, const Gradient& dx) {
       with.ops().linear_grad_input(with.input({3, 0}), with.input({0, 5}), dx);
     }},
    {"linear_grad_weight, M = 0: dw",
     {4, 5},
     [](Bench& with, const Gradient& dw) {
       with.ops().linear_grad_weight(with.input({0, 4}), with.input({0, 5}), dw, {});
     }},
    {"linear_grad_weight, M = 0: dbias",
     {4},
     [](Bench& with, const Gradient& dbias) {
       with.ops().linear_grad_weight(with.input({0, 4}), with.input({0, 5}), {}, dbias);
     }},
    {"embedding_backward without tokens: dtable",
     {6, 5},
     [](Bench& with, const Gradient& dtable) {
       with.ops().embedding_backward(no_tokens, with.input({0, 5}), {2}, dtable, {});
     }},
    {"embedding_backward without tokens: dpositions",
     {6, 5},
     [](Bench& with, const Gradient& dpositions) {
       with.ops().embedding_backward(no_tokens, with.input({0, 5}), {2}, {}, dpositions);
     }},
    {"embedding_backward, all tokens elsewhere: dtable",
     {6, 5},
     [](Bench& with, const Gradient& dtable) {
       with.ops().embedding_backward(std::vector<std::int32_t>{-1, -1}, with.input({2, 5}), {2},
                                     dtable, {});
     }},
    {"layer_norm_backward, M = 0: dweight",
     {5},
     [](Bench& with, const Gradient& dweight) {
       const Tensor rows = with.input({0, 5}), statistics = with.statistics("", {0});
       with.ops().layer_norm_backward(rows, rows, with.input({5}), statistics, statistics,
                                      with.gradient("", {0, 5}, Write::add), dweight, {});
     }},
    {"layer_norm_backward, M = 0: dbias",
     {5},
     [](Bench& with, const Gradient& dbias) {
       const Tensor rows = with.input({0, 5}), statistics = with.statistics("", {0});
       with.ops().layer_norm_backward(rows, rows, with.input({5}), statistics, statistics, {}, {},
                                      dbias);
     }},
    {"rms_norm_backward, M = 0: dweight",
     {5},
     [](Bench& with, const Gradient& dweight) {
       const Tensor rows = with.input({0, 5});
       with.ops().rms_norm_backward(rows, rows, with.input({5}), with.statistics("", {0}),
                                    with.gradient("", {0, 5}, Write::assign), dweight);
     }},
};

TEST_CASE("a gradient of nothing is zero where assigned, and adds nothing") {
  for (const GradientOfNothing& op : gradients_of_nothing) {
    INFO(op.name);
    for (const Write write : writes) {
      CAPTURE(static_cast<int>(write));
      for_each_bench([&](Bench& bench) {
        for (const DataType type : {bench.type(), DataType::f32}) {
          const Gradient gradient = bench.gradient_of(type, "", op.shape, write);
          std::vector<double> want = values_of(gradient.tensor);
          if (write == Write::assign) want.assign(want.size(), 0.0);
          op.use(bench, gradient);
          CHECK(values_of(gradient.tensor) == want);
        }
      });
    }
  }
}

TEST_CASE("tokens of an empty part of the vocabulary are zeros, with their positions") {
  for_each_bench([](Bench& bench) {
    const std::vector<std::int32_t> tokens(4, -1);
    const Tensor table = bench.input({0, 3}), positions = bench.input({2, 3});
    const Tensor y = bench.output("y", {4, 3}), dy = bench.input({4, 3});
    bench.ops().embedding(tokens, table, {}, {2}, y);
    CHECK(values_of(y) == std::vector<double>(12, 0.0));
    bench.ops().embedding(tokens, table, positions, {2}, y);
    CHECK(values_of(y.rows(0, 2)) == values_of(positions));
    CHECK(values_of(y.rows(2, 4)) == values_of(positions));
    bench.ops().embedding_backward(tokens, dy, {2}, {table, Write::assign}, {});
    CHECK_THROWS_AS(bench.ops().embedding(std::vector<std::int32_t>(4, 0), table, {}, {2}, y),
                    Error);
  });
}

struct Size {
  std::int64_t m, n, k;
};
constexpr Size empty_sizes[] = {{0, 4, 5}, {3, 0, 5}, {3, 4, 0}, {0, 0, 5},
                                {0, 4, 0}, {3, 0, 0}, {0, 0, 0}};

TEST_CASE("products, activations and norms with empty extents") {
  for (const auto [m, n, k] : empty_sizes) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    for (const Write write : writes) {
      compare_with_reference([&](Bench& bench) {
        Ops& ops = bench.ops();
        const Tensor x = bench.input({m, k}), w = bench.input({n, k}), dy = bench.input({m, n});
        const Tensor bias = bench.input({n});
        ops.linear(x, w, bias, Activation::silu, bench.output("pre", {m, n}),
                   bench.output("y", {m, n}));
        ops.linear(x, w, bias, Activation::none, {},
                   bench.output_of(DataType::f32, "y in f32", {m, n}));
        ops.linear_grad_input(dy, w, bench.gradient("dx", {m, k}, write));
        ops.linear_grad_weight(dy, x, bench.gradient("dw", {n, k}, write),
                               bench.gradient("dbias", {n}, write));
        ops.activation_backward(Activation::silu, dy, dy, bench.output("dpre", {m, n}));
        const Tensor gate_up = bench.input({m, 2 * n});
        ops.swiglu(gate_up, bench.output("gated", {m, n}));
        ops.swiglu_backward(gate_up, dy, bench.output("dgate_up", {m, 2 * n}));
      });
    }
  }
  compare_with_reference([](Bench& bench) {
    const Tensor x = bench.input({0, 5}), weight = bench.input({5});
    const Tensor mean = bench.statistics("mean", {0}), rstd = bench.statistics("rstd", {0});
    bench.ops().layer_norm(x, weight, weight, 1e-5f, bench.output("layer norm", {0, 5}), mean,
                           rstd);
    bench.ops().rms_norm(x, weight, 1e-5f, bench.output("RMS norm", {0, 5}), rstd);
    bench.ops().add_layer_norm(x, x, weight, weight, 1e-5f, bench.output("sum", {0, 5}),
                               bench.output("layer norm of a sum", {0, 5}), mean, rstd);
    bench.ops().add_rms_norm(x, x, weight, 1e-5f, bench.output("another sum", {0, 5}),
                             bench.output("RMS norm of a sum", {0, 5}), rstd);
    bench.ops().embedding(no_tokens, weight.reshaped({1, 5}), weight.reshaped({1, 5}), {1}, x);
  });
}

TEST_CASE("attention and rotary of no heads, sequences or positions") {
  constexpr AttentionShape shapes[] = {
      {.batch = 2, .context = 70, .heads = 0, .kv_heads = 0, .head_width = 8},
      {.batch = 2, .context = 70, .heads = 0, .kv_heads = 0, .head_width = 8, .all_heads = 4},
      {.batch = 0, .context = 70, .heads = 4, .kv_heads = 2, .head_width = 8},
      {.batch = 2, .context = 0, .heads = 4, .kv_heads = 2, .head_width = 8}};
  for (const AttentionShape& shape : shapes) {
    CAPTURE(shape.batch);
    CAPTURE(shape.context);
    CAPTURE(shape.heads);
    compare_with_reference([&](Bench& bench) {
      const std::int64_t rows = shape.batch * shape.context;
      const Dropout dropout{.probability = 0.5f, .key = 1, .step = 1, .first_index = 0};
      const Tensor qkv = bench.input({rows, shape.qkv_width()});
      const Tensor out = bench.output("out", {rows, shape.out_width()});
      const Tensor lse = bench.statistics("lse", {shape.batch, shape.heads, shape.context});
      bench.ops().rotary(qkv, shape, 0, 10000.0f, false);
      bench.ops().attention(qkv, shape, dropout, out, lse);
      bench.ops().attention_backward(qkv, shape, dropout, out, lse, out,
                                     bench.output("dqkv", {rows, shape.qkv_width()}));
      const Shape cache{shape.batch, 80, shape.kv_heads * shape.head_width};
      bench.ops().attention_extend(qkv, shape, 10, bench.input(cache), bench.input(cache), out);
    });
  }
}

TEST_CASE("elementwise ops, losses and the optimizer on nothing") {
  for_each_bench([](Bench& bench) {
    Ops& ops = bench.ops();
    const Tensor x = bench.input({0}), f32 = bench.input_of(DataType::f32, {0});
    const Tensor master = bench.type() == DataType::f32 ? Tensor() : f32;
    ops.dropout(x, {.probability = 0.5f, .key = 1, .step = 1, .first_index = 0}, x);
    ops.dropout(x, {}, bench.output("undropped", {0}));
    ops.add(x, x, x);
    ops.scale(x, 2.0f);
    ops.fill(x, 2.0f);
    ops.convert(x, f32);
    ops.adamw({x, master, x, f32, f32}, {.lr = 0.1f});
    ops.adamw(std::span<const AdamWPart>(), {.lr = 0.1f});
    CHECK(ops.sum_of_squares(x) == 0.0);
    CHECK(ops.all_finite(x));

    const Tensor no_rows = bench.input({0, 5});
    const Tensor losses = bench.statistics("losses", {0}), sums = bench.statistics("sums", {2, 0});
    ops.cross_entropy(no_rows, no_tokens, 1.0f, losses, no_rows);
    ops.row_maximum(no_rows, losses);
    ops.cross_entropy_parts(no_rows, no_tokens, losses, sums);
    ops.cross_entropy_gradient(no_rows, no_tokens, losses, sums, {}, no_rows);
  });
}

}  // namespace
}  // namespace train::test
