#include "libtrain/ops/cuda/attention_forward.hpp"
#include "libtrain/ops/cuda/attention_shape.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/fused_attention.hpp"

namespace train::cuda {
namespace {

template <typename T>
void run(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout, const Tensor& out,
         const Tensor& lse, const Stream& stream) {
  const T* query = qkv.data<T>();
  ForwardHeads<T> heads{};
  heads.query = query;
  heads.key = query + shape.out_width();
  heads.value = heads.key + shape.kv_heads * shape.head_width;
  heads.out = out.data<T>();
  heads.lse = lse.data<float>();
  heads.query_stride = heads.key_stride = shape.qkv_width();
  heads.out_stride = shape.out_width();
  heads.query_sequence = heads.key_sequence = shape.context * shape.qkv_width();
  heads.out_sequence = shape.context * shape.out_width();
  heads.queries = shape.context;
  heads.position = 0;
  heads.batch = static_cast<int>(shape.batch);
  heads.heads = static_cast<int>(shape.heads);
  heads.group = static_cast<int>(shape.heads / shape.kv_heads);
  heads.head_width = static_cast<int>(shape.head_width);
  heads.all_heads = static_cast<int>(shape.all_heads == 0 ? shape.heads : shape.all_heads);
  heads.vectors = chunks_fit(shape, {&qkv, &out});
  attention_forward(heads, dropout, stream);
}

}  // namespace

void CudaOps::attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                        const Tensor& out, const Tensor& lse) {
  const std::int64_t rows = shape.batch * shape.context;
  check_attention(shape);
  invariant(qkv.elements() == rows * shape.qkv_width() &&
                out.elements() == rows * shape.out_width() && out.type() == qkv.type() &&
                lse.elements() == rows * shape.heads,
            "attention: out and lse of qkv's rows");
  if (rows == 0 || shape.heads == 0) return;
  if (fused_attention_ && fused_attention_->forward(qkv, shape, dropout, out, lse)) return;
  if (qkv.type() == DataType::bf16) {
    run<BFloat16>(qkv, shape, dropout, out, lse, stream_);
  } else {
    run<float>(qkv, shape, dropout, out, lse, stream_);
  }
}

}  // namespace train::cuda
