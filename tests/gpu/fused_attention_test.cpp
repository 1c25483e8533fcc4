// Attention through cuDNN, on its own: that it is taken, what it refuses, and its parts. That it is
// the reference's attention, the tests of all ops show.
#include "libtrain/ops/cuda/fused_attention.hpp"

#include <memory>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/parallel/grid.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

struct Rows {
  Tensor qkv, dout, out, lse, dqkv;
};

Rows rows_of(Bench& bench, const AttentionShape& shape) {
  const std::int64_t rows = shape.batch * shape.context;
  return {bench.input({rows, shape.qkv_width()}, 2.0), bench.input({rows, shape.out_width()}),
          bench.output("out", {rows, shape.out_width()}),
          bench.statistics("lse", {shape.batch, shape.heads, shape.context}),
          bench.output("dqkv", {rows, shape.qkv_width()})};
}

struct CudaDevice {
  explicit CudaDevice(cuda::AttentionKernels attention) {
    auto owned = std::make_unique<cuda::CudaMemory>(0);
    memory = owned.get();
    auto ops = std::make_unique<cuda::CudaOps>(*memory, attention);
    const Gpu number{0, memory->stream().get()};
    device = std::make_unique<Device>(std::move(owned), std::move(ops), 1, number);
  }

  cuda::CudaMemory* memory;
  std::unique_ptr<Device> device;
};

bool found() {
  if (cuda::FusedAttention::available()) return true;
  MESSAGE("skipped: this program finds no cuDNN");
  return false;
}

constexpr AttentionShape shapes[] = {
    {.batch = 2, .context = 77, .heads = 4, .kv_heads = 4, .head_width = 64},
    {.batch = 3, .context = 64, .heads = 6, .kv_heads = 2, .head_width = 16},
};

TEST_CASE("cuDNN's attention is that of our own kernels") {
  if (!found()) return;
  const CudaDevice with(cuda::AttentionKernels::cudnn_or_own);
  const CudaDevice without(cuda::AttentionKernels::own);
  for (const AttentionShape& shape : shapes) {
    CAPTURE(shape.context);
    std::vector<Rows> results;
    for (const CudaDevice* gpu : {&with, &without}) {
      Bench bench(*gpu->device, DataType::bf16, 0);
      const Rows rows = rows_of(bench, shape);
      bench.ops().attention(rows.qkv, shape, {}, rows.out, rows.lse);
      bench.ops().attention_backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, rows.dqkv);
      results.push_back(rows);
    }
    CHECK(relative_error(values_of(results[0].out), values_of(results[1].out)) < 1e-2);
    CHECK(relative_error(values_of(results[0].lse), values_of(results[1].lse)) < 1e-3);
    CHECK(relative_error(values_of(results[0].dqkv), values_of(results[1].dqkv)) < 1e-2);
  }
}

TEST_CASE("the backward pass in parts gives what it gives at once") {
  if (!found()) return;
  const CudaDevice gpu(cuda::AttentionKernels::own);
  const AttentionShape shape{
      .batch = 3, .context = 128, .heads = 6, .kv_heads = 3, .head_width = 16};
  Bench bench(*gpu.device, DataType::bf16, 0);
  const Rows rows = rows_of(bench, shape);
  cuda::FusedAttention whole(*gpu.memory);
  REQUIRE(whole.forward(rows.qkv, shape, {}, rows.out, rows.lse));
  REQUIRE(whole.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, rows.dqkv));
  // Per pair of query heads: of 1 or 2 key/value heads, of 1 or 2 sequences at once.
  constexpr std::int64_t pair_bytes = std::int64_t{2} * 2 * (128 * 128 + 2 * 128 * 16);
  for (const std::int64_t pairs : {1, 2, 3, 6, 8}) {
    CAPTURE(pairs);
    cuda::FusedAttention parted(*gpu.memory, SumOrder::fixed, pairs * pair_bytes);
    const Tensor dqkv = bench.output("dqkv in parts", rows.dqkv.shape());
    REQUIRE(parted.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, dqkv));
    CHECK(bytes_of(dqkv) == bytes_of(rows.dqkv));
  }
  cuda::FusedAttention small(*gpu.memory, SumOrder::fixed, pair_bytes - 1);
  CHECK_FALSE(small.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, rows.dqkv));
}

// Sums of any order keep less than gradients of scores, where contexts are not very short: that
// they fit where those do not shows whose kernels run.
TEST_CASE("the backward pass in any order is that of a fixed order, at once and in parts") {
  if (!found()) return;
  const CudaDevice gpu(cuda::AttentionKernels::own);
  const AttentionShape shape{
      .batch = 3, .context = 128, .heads = 6, .kv_heads = 3, .head_width = 16};
  Bench bench(*gpu.device, DataType::bf16, 0);
  const Rows rows = rows_of(bench, shape);
  cuda::FusedAttention fixed(*gpu.memory);
  REQUIRE(fixed.forward(rows.qkv, shape, {}, rows.out, rows.lse));
  REQUIRE(fixed.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, rows.dqkv));
  constexpr std::int64_t pair_bytes = std::int64_t{2} * 12 * 128 * 16;  // of two query heads
  static_assert(pair_bytes * 4 / 3 == std::int64_t{2} * 2 * 128 * 128, "less than scores take");
  for (const std::int64_t pairs : {1, 3, 9}) {
    CAPTURE(pairs);
    cuda::FusedAttention any(*gpu.memory, SumOrder::any, pairs * pair_bytes);
    const Tensor dqkv = bench.output("dqkv in any order", rows.dqkv.shape());
    REQUIRE(any.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, dqkv));
    CHECK(relative_error(values_of(dqkv), values_of(rows.dqkv)) < 1e-2);
  }
  cuda::FusedAttention small(*gpu.memory, SumOrder::any, pair_bytes - 1);
  CHECK_FALSE(small.backward(rows.qkv, shape, {}, rows.out, rows.lse, rows.dout, rows.dqkv));
}

TEST_CASE("a device's options reach cuDNN") {
  if (!found()) return;
  const auto words = [](SumOrder order) {
    return make_device({.device = "cuda", .sum_order = order}, {})->ops().description();
  };
  CHECK(words(SumOrder::any) == words(SumOrder::fixed) + ", sums in any order");
}

TEST_CASE("cuDNN's attention refuses what it has no kernel for, and touches nothing") {
  if (!found()) return;
  const CudaDevice gpu(cuda::AttentionKernels::own);
  cuda::FusedAttention fused(*gpu.memory);
  const auto refused = [&](DataType type, std::int64_t guard, const AttentionShape& shape,
                           const Dropout& dropout) {
    Bench bench(*gpu.device, type, guard);
    const Rows rows = rows_of(bench, shape);
    const auto before = bytes_of(rows.dqkv);
    const bool taken =
        fused.forward(rows.qkv, shape, dropout, rows.out, rows.lse) ||
        fused.backward(rows.qkv, shape, dropout, rows.out, rows.lse, rows.dout, rows.dqkv);
    return !taken && bytes_of(rows.dqkv) == before;
  };
  AttentionShape odd = shapes[0];
  odd.head_width = 10;
  CHECK(refused(DataType::f32, 0, shapes[0], {}));
  CHECK(refused(DataType::bf16, 1, shapes[0], {}));
  CHECK(refused(DataType::bf16, 0, odd, {}));
  CHECK(refused(DataType::bf16, 0, shapes[0], {.probability = 0.1f}));
  CHECK_FALSE(refused(DataType::bf16, 0, shapes[0], {}));
}

}  // namespace
}  // namespace train::test
