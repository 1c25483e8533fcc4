#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/ops/cpu/dropout_factors.hpp"
#include "libtrain/ops/cpu/gemm.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

TEST_CASE("fast_exp is within two units in the last place, and keeps zero, infinity and NaN") {
  double worst = 0.0;
  for (float x = -87.6f; x < 88.3f; x += 0.00173f) {
    const double want = std::exp(static_cast<double>(x));
    const auto near = static_cast<float>(want);
    const double unit = std::nextafter(near, std::numeric_limits<float>::infinity()) - near;
    worst = std::max(worst, std::abs(cpu::fast_exp(x) - want) / unit);
  }
  CHECK(worst < 2.0);
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(cpu::fast_exp(0.0f) == 1.0f);
  CHECK(cpu::fast_exp(-infinity) == 0.0f);
  CHECK(cpu::fast_exp(-100.0f) == 0.0f);
  CHECK(cpu::fast_exp(100.0f) == infinity);
  CHECK(cpu::fast_exp(infinity) == infinity);
  CHECK(std::isnan(cpu::fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("dropout factors are the mask's, from any index on") {
  for (const std::uint64_t first_index : {std::uint64_t{0}, std::uint64_t{5}, ~std::uint64_t{90}}) {
    const Dropout dropout{.probability = 0.3f,
                          .key = 0x123456789abcdef0u,
                          .step = 0x100000002u,
                          .first_index = first_index};
    CAPTURE(first_index);
    for (const std::uint64_t first : {0, 1, 3, 7}) {
      for (const std::int64_t count : {1, 2, 31, 32, 33, 80}) {
        std::vector<float> got(static_cast<std::size_t>(count));
        cpu::dropout_factors(dropout, first, count, got.data());
        DropoutMask mask(dropout);
        std::vector<float> want;
        for (std::int64_t i = 0; i < count; ++i) {
          want.push_back(mask.factor(first + static_cast<std::uint64_t>(i)));
        }
        CAPTURE(first);
        CAPTURE(count);
        CHECK(got == want);
      }
    }
  }
}

// oneDNN's generated kernels serve bf16 on processors with AVX-512 alone; in f32 they run anywhere,
// with the same strides, biases and additions.
TEST_CASE("fused products are the plain ones") {
  const auto reference = make_reference_device();
  for (const auto& [m, n, k] : {std::array{7L, 48L, 100L}, {65L, 257L, 3L}, {1L, 1L, 1L}}) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    Bench bench(*reference, DataType::f32, 0);
    cpu::Gemm gemm(2);
    const auto rows = [](const Tensor& tensor, bool transposed = false) {
      return cpu::ConstMatrix{tensor.raw(), tensor.type(), tensor.shape().width(), transposed};
    };
    const Tensor x = bench.input({m, k}), w = bench.input({n, k}), bias = bench.input({n});
    const Tensor y = bench.output("y", {m, n}), want = bench.output("want", {m, n});
    for (const auto activation : {Activation::none, Activation::gelu_tanh, Activation::silu}) {
      bench.ops().linear(x, w, bias, activation, {}, want);
      REQUIRE(gemm.multiply_fused(m, n, k, rows(x), rows(w, true),
                                  {bias.raw(), DataType::f32, activation, false}, y.raw(),
                                  DataType::f32, n));
      CHECK(relative_error(values_of(y), values_of(want)) < 1e-5);
    }
    const Tensor sum = bench.input({n, k});
    const Tensor want_sum = tensor_of(*reference, {n, k}, DataType::f32, values_of(sum));
    bench.ops().linear_grad_weight(y, x, {want_sum, Write::add}, {});
    REQUIRE(gemm.multiply_fused(n, k, m, rows(y, true), rows(x),
                                {nullptr, DataType::f32, Activation::none, true}, sum.raw(),
                                DataType::f32, k));
    CHECK(relative_error(values_of(sum), values_of(want_sum)) < 1e-5);
  }
}

TEST_CASE("ranks as threads, each with its device, do not disturb each other") {
  const auto step = [] {
    const auto device = make_cpu_device(2);
    Bench bench(*device, DataType::f32, 0);
    const AttentionShape shape{
        .batch = 2, .context = 96, .heads = 4, .kv_heads = 2, .head_width = 20};
    const std::int64_t rows = shape.batch * shape.context;
    const Tensor x = bench.input({rows, 80}), w = bench.input({shape.qkv_width(), 80});
    const Tensor qkv = bench.output("qkv", {rows, shape.qkv_width()});
    const Tensor out = bench.output("out", {rows, shape.out_width()});
    const Tensor lse = bench.statistics("lse", {shape.batch, shape.heads, shape.context});
    bench.ops().linear(x, w, {}, Activation::none, {}, qkv);
    bench.ops().attention(qkv, shape, {}, out, lse);
    return bytes_of(out);
  };
  const std::vector<std::byte> alone = step();
  std::vector<std::vector<std::byte>> together(3);
  std::vector<std::thread> ranks;
  for (auto& result : together) ranks.emplace_back([&] { result = step(); });
  for (std::thread& rank : ranks) rank.join();
  for (const auto& result : together) CHECK(result == alone);
}

TEST_CASE("a repeated step asks the system for no memory after the first") {
  const auto device = make_cpu_device(2);
  Bench bench(*device, DataType::bf16, 0);
  const Tensor x = bench.input({130, 96}), w = bench.input({300, 96});
  const Tensor y = bench.output("y", {130, 300}), bias = bench.input({300});
  const Gradient dw = bench.gradient("dw", {300, 96}, Write::add);
  const Gradient dx = bench.gradient("dx", {130, 96}, Write::add);
  const auto step = [&] {
    bench.ops().linear(x, w, bias, Activation::gelu_tanh, {}, y);
    bench.ops().linear_grad_input(y, w, dx);
    bench.ops().linear_grad_weight(y, x, dw, {});
  };
  step();
  const auto before = device->memory().statistics();
  step();
  const auto after = device->memory().statistics();
  CHECK(after.system_allocations == before.system_allocations);
  CHECK(after.bytes_in_use == before.bytes_in_use);
}

}  // namespace
}  // namespace train::test
