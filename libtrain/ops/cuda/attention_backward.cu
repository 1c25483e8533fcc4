#include "libtrain/ops/cuda/attention_backward.cuh"
#include "libtrain/ops/cuda/attention_shape.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/fused_attention.hpp"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

constexpr int delta_threads = 128;

// delta[b,h,i] = the sum over head h's columns of dout · out (Dao et al., 2022, section B.4); a
// warp for each. 2 passes over out.
template <typename T>
__global__ void __launch_bounds__(delta_threads)
    attention_delta(const T* out, const T* dout, float* delta, std::int64_t rows,
                    std::int64_t context, int heads, int head_width) {
  const std::int64_t unit =
      static_cast<std::int64_t>(blockIdx.x) * (delta_threads / 32) + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0.0f;
  if (unit < rows * heads) {
    for (int i = lane; i < head_width; i += 32) {
      sum += to_float(out[unit * head_width + i]) * to_float(dout[unit * head_width + i]);
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (unit < rows * heads && lane == 0) {
    const std::int64_t row = unit / heads, head = unit % heads;
    delta[(row / context * heads + head) * context + row % context] = sum;
  }
}

template <typename T>
void run(const AttentionShape& shape, const Dropout& dropout, const Tensor& qkv, const Tensor& out,
         const Tensor& lse, const Tensor& dout, const Tensor& dqkv, CudaMemory& memory) {
  const Stream& stream = memory.stream();
  const std::int64_t rows = shape.batch * shape.context, units = rows * shape.heads;
  const Scratch<float> delta(memory, units);
  LaunchShape by_warps;
  by_warps.grid = dim3(static_cast<unsigned>((units + 3) / (delta_threads / 32)));
  by_warps.block = dim3(delta_threads);
  launch(attention_delta<T>, by_warps, stream, out.data<T>(), dout.data<T>(), delta.data(), rows,
         shape.context, static_cast<int>(shape.heads), static_cast<int>(shape.head_width));
  BackwardHeads<T> heads{};
  heads.qkv = qkv.data<T>();
  heads.dout = dout.data<T>();
  heads.dqkv = dqkv.data<T>();
  heads.lse = lse.data<float>();
  heads.delta = delta.data();
  heads.context = shape.context;
  heads.batch = static_cast<int>(shape.batch);
  heads.heads = static_cast<int>(shape.heads);
  heads.kv_heads = static_cast<int>(shape.kv_heads);
  heads.head_width = static_cast<int>(shape.head_width);
  heads.all_heads = static_cast<int>(shape.all_heads == 0 ? shape.heads : shape.all_heads);
  heads.vectors = chunks_fit(shape, {&qkv, &dout, &dqkv});
  const AttentionDropout mask(dropout);
  launch_backward_by_keys(heads, mask, stream);
  launch_backward_by_queries(heads, mask, stream);
}

}  // namespace

void CudaOps::attention_backward(const Tensor& qkv, const AttentionShape& shape,
                                 const Dropout& dropout, const Tensor& out, const Tensor& lse,
                                 const Tensor& dout, const Tensor& dqkv) {
  const std::int64_t rows = shape.batch * shape.context;
  check_attention(shape);
  invariant(qkv.elements() == rows * shape.qkv_width() && dqkv.elements() == qkv.elements() &&
                out.elements() == rows * shape.out_width() && dout.elements() == out.elements() &&
                lse.elements() == rows * shape.heads,
            "attention_backward: tensors of qkv's rows");
  if (rows == 0 || shape.heads == 0) return;
  if (fused_attention_ && fused_attention_->backward(qkv, shape, dropout, out, lse, dout, dqkv)) {
    return;
  }
  if (qkv.type() == DataType::bf16) {
    run<BFloat16>(shape, dropout, qkv, out, lse, dout, dqkv, memory_);
  } else {
    run<float>(shape, dropout, qkv, out, lse, dout, dqkv, memory_);
  }
}

}  // namespace train::cuda
