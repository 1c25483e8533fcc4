#pragma once

#include "libtrain/ops/cuda/cudnn/graph.hpp"
#include "libtrain/ops/ops.hpp"
#include "libtrain/ops/sum_order.hpp"

// Causal attention as cuDNN knows it: the chain of operations that its fused kernels stand for.
namespace train::cuda::cudnn {

/// What a call points at. Rows are those of Ops::attention: query, key and value are three places
/// in qkv, and so are their gradients in dqkv.
enum AttentionTensor : std::int64_t {
  query = 1,
  key,
  value,
  out,
  lse,
  dout,
  dquery,
  dkey,
  dvalue,
  delta,       ///< f32 [batch, heads, context]: scratch of the backward pass
  dquery_sum,  ///< f32 [batch, heads, context, head_width]: the same, where sums come in any order
  scale,       ///< 1/sqrt(head_width), on the host, as the two after it
  masked,      ///< what hidden scores become: -infinity
  one,
};

/// What one call works on: so many sequences and heads of tensors that may hold more. A call has
/// all heads or one sequence.
struct AttentionPart {
  AttentionShape whole;
  std::int64_t batch = 0, heads = 0, kv_heads = 0;
};

/// False for shapes of which cuDNN's own answer does not tell that its kernels are wrong for them,
/// or that they do not give the same bits each time.
bool takes_forward(const AttentionShape& shape);
bool takes_backward(const AttentionShape& shape, int capability, std::size_t version);

/// out and lse of bf16 rows. Throws Refusal.
Graph forward_graph(const AttentionPart& part, const Target& target);
/// The gradients, of bf16 rows. Throws Refusal.
Graph backward_graph(const AttentionPart& part, const Target& target,
                     SumOrder order = SumOrder::fixed);

}  // namespace train::cuda::cudnn
