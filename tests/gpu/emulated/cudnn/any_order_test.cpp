// A cuDNN without kernels whose sums come in any order.
#include <doctest/doctest.h>

#include "libtrain/ops/device.hpp"
#include "tests/gpu/emulated/cudnn/library.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

constexpr AttentionShape shape{
    .batch = 2, .context = 64, .heads = 4, .kv_heads = 2, .head_width = 16};

std::vector<std::byte> gradients_of(Device& device) {
  Bench bench(device, DataType::bf16, 0);
  const std::int64_t rows = shape.batch * shape.context;
  const Tensor qkv = bench.input({rows, shape.qkv_width()}, 2.0);
  const Tensor dout = bench.input({rows, shape.out_width()});
  const Tensor out = bench.output("out", dout.shape()), dqkv = bench.output("dqkv", qkv.shape());
  const Tensor lse = bench.statistics("lse", {shape.batch, shape.heads, shape.context});
  bench.ops().attention(qkv, shape, {}, out, lse);
  bench.ops().attention_backward(qkv, shape, {}, out, lse, dout, dqkv);
  return bytes_of(dqkv);
}

TEST_CASE("where cuDNN has no kernels of any order, it takes those of a fixed order") {
  const auto fixed = make_cuda_device(0), any = make_cuda_device(0, 1, SumOrder::any);
  const auto own_order = gradients_of(*fixed);
  emulated::cudnn::any_order = false;
  CHECK(gradients_of(*any) == own_order);
  emulated::cudnn::any_order = true;
}

TEST_CASE("a fixed order gives the same bits each time") {
  const auto device = make_cuda_device(0);
  CHECK(gradients_of(*device) == gradients_of(*device));
}

}  // namespace
}  // namespace train::test
