#include "libtrain/ops/cuda/cudnn/attention_graph.hpp"

namespace train::cuda::cudnn {
namespace {

using Extents = Graph::Extents;
using Node = Graph::Node;

// The extents and strides that occur in both passes.
struct Layout {
  explicit Layout(const AttentionPart& part)
      : Layout(part.whole, part.batch, part.heads, part.kv_heads) {}
  Layout(const AttentionShape& whole, std::int64_t batch, std::int64_t heads, std::int64_t kv_heads)
      : rows{batch, heads, whole.context, whole.head_width},
        kv_rows{batch, kv_heads, whole.context, whole.head_width},
        kv_columns{batch, kv_heads, whole.head_width, whole.context},
        scores{batch, heads, whole.context, whole.context},
        scores_turned{heads * whole.context * whole.context, whole.context * whole.context, 1,
                      whole.context},
        per_row{batch, heads, whole.context, 1},
        in_qkv{whole.context * whole.qkv_width(), whole.head_width, whole.qkv_width(), 1},
        in_qkv_turned{in_qkv[0], in_qkv[1], 1, in_qkv[2]},
        in_out{whole.context * whole.out_width(), whole.head_width, whole.out_width(), 1},
        in_lse{heads * whole.context, whole.context, 1, 1},
        rows_apart{heads * whole.context * whole.head_width, whole.context * whole.head_width,
                   whole.head_width, 1} {}

  Extents rows, kv_rows, kv_columns, scores;
  Extents scores_turned;  // strides, as those below
  Extents per_row;
  Extents in_qkv, in_qkv_turned, in_out, in_lse;
  Extents rows_apart;  // of heads one behind the other
};

// q kᵀ · scale, not yet masked.
Node scaled_scores(Graph& graph, const Layout& layout, Node q, Node k_turned, Node scaling) {
  const Node scores = graph.between(layout.scores), scaled = graph.between(layout.scores);
  graph.matmul(q, k_turned, scores);
  graph.pointwise(CUDNN_POINTWISE_MUL, scores, scaling, scaled);
  return scaled;
}

// Scores of later keys than the query's own become what `masked` says.
Node mask(Graph& graph, const Layout& layout, Node scores) {
  const Node row = graph.between(layout.scores, CUDNN_DATA_INT32);
  const Node column = graph.between(layout.scores, CUDNN_DATA_INT32);
  const Node seen = graph.between(layout.scores, CUDNN_DATA_BOOLEAN);
  const Node visible = graph.between(layout.scores);
  graph.places(scores, 2, row);
  graph.places(scores, 3, column);
  graph.pointwise(CUDNN_POINTWISE_CMP_GE, row, column, seen, CUDNN_DATA_BOOLEAN);
  graph.select(scores, graph.number(masked), seen, visible);
  return visible;
}

// Softmax of scores as bf16, and the log of its sums into `lse`.
Node softmax(Graph& graph, const Layout& layout, Node scores) {
  const Node maximum = graph.between(layout.per_row), sum = graph.between(layout.per_row);
  const Node log = graph.between(layout.per_row);
  const Node shifted = graph.between(layout.scores), exponential = graph.between(layout.scores);
  const Node probabilities = graph.between(layout.scores, CUDNN_DATA_BFLOAT16);
  graph.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, maximum);
  graph.pointwise(CUDNN_POINTWISE_SUB, scores, maximum, shifted);
  graph.pointwise(CUDNN_POINTWISE_EXP, shifted, {}, exponential);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, exponential, sum);
  graph.pointwise(CUDNN_POINTWISE_LOG, sum, {}, log);
  graph.pointwise(CUDNN_POINTWISE_ADD, maximum, log,
                  graph.tensor(lse, CUDNN_DATA_FLOAT, layout.per_row, layout.in_lse));
  graph.pointwise(CUDNN_POINTWISE_DIV, exponential, sum, probabilities);
  return probabilities;
}

// delta = the sum over a row of dout · out.
Node row_products(Graph& graph, const Layout& layout, Node gradient) {
  const Node results = graph.tensor(out, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_out);
  const Node products = graph.between(layout.rows), sums = graph.between(layout.per_row);
  const Node sums_kept = graph.tensor(delta, CUDNN_DATA_FLOAT, layout.per_row, layout.in_lse);
  graph.pointwise(CUDNN_POINTWISE_MUL, gradient, results, products);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, products, sums);
  // A product with 1, where dropout would have its factor: cuDNN's kernels expect one.
  graph.pointwise(CUDNN_POINTWISE_MUL, sums, graph.number(one), sums_kept);
  return sums_kept;
}

// exp(scores - lse), 0 where masked.
Node probabilities_again(Graph& graph, const Layout& layout, Node scores) {
  const Node logs = graph.tensor(lse, CUDNN_DATA_FLOAT, layout.per_row, layout.in_lse);
  const Node shifted = graph.between(layout.scores), probabilities = graph.between(layout.scores);
  graph.pointwise(CUDNN_POINTWISE_SUB, scores, logs, shifted);
  graph.pointwise(CUDNN_POINTWISE_EXP, mask(graph, layout, shifted), {}, probabilities);
  return probabilities;
}

// The gradient of keys, or of values: weightsᵀ · right, summed over the heads that a key/value head
// serves.
void transposed_product(Graph& graph, const Layout& layout, Node weights, Node right,
                        AttentionTensor result) {
  const Node weights_turned =
      graph.between(layout.scores, layout.scores_turned, CUDNN_DATA_BFLOAT16);
  const Node sum = graph.tensor(result, CUDNN_DATA_BFLOAT16, layout.kv_rows, layout.in_qkv);
  graph.reshape(weights, weights_turned);
  if (layout.rows == layout.kv_rows) {
    graph.matmul(weights_turned, right, sum);
    return;
  }
  const Node per_head = graph.between(layout.rows, CUDNN_DATA_BFLOAT16);
  graph.matmul(weights_turned, right, per_head);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, per_head, sum);
}

// (dout vᵀ - delta) · probabilities · scale: the gradient of q kᵀ.
Node scores_gradient(Graph& graph, const Layout& layout, Node gradient, Node probabilities,
                     Node sums, Node scaling) {
  const Node v_turned =
      graph.tensor(value, CUDNN_DATA_BFLOAT16, layout.kv_columns, layout.in_qkv_turned);
  const Node products = graph.between(layout.scores), centred = graph.between(layout.scores);
  const Node weighted = graph.between(layout.scores), scaled = graph.between(layout.scores);
  graph.matmul(gradient, v_turned, products);
  graph.pointwise(CUDNN_POINTWISE_SUB, products, sums, centred);
  graph.pointwise(CUDNN_POINTWISE_MUL, centred, probabilities, weighted);
  graph.pointwise(CUDNN_POINTWISE_MUL, weighted, scaling, scaled);
  return scaled;
}

// dscores · k. As a product's result dquery has cuDNN keep the scores' gradients in its workspace,
// 2·batch·heads·context² bytes, and sum in a fixed order. Given an f32 sum in memory between the
// two, its kernels need no such workspace, but blocks of keys add to the sum as they finish,
// without a note on the engine that says so. They begin it with zeros themselves, since cuDNN 9.6.
void query_gradient(Graph& graph, const Layout& layout, Node dscores, Node k, SumOrder order) {
  const Node result = graph.tensor(dquery, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_qkv);
  if (order == SumOrder::fixed) return graph.matmul(dscores, k, result);
  const Node sum = graph.tensor(dquery_sum, CUDNN_DATA_FLOAT, layout.rows, layout.rows_apart);
  graph.matmul(dscores, k, sum);
  graph.pointwise(CUDNN_POINTWISE_IDENTITY, sum, {}, result);
}

}  // namespace

bool takes_forward(const AttentionShape& shape) {
  return shape.head_width % 8 == 0 && shape.head_width <= 256;
}

bool takes_backward(const AttentionShape& shape, int capability, std::size_t version) {
  // After Hopper, sums in a fixed order take engines that are chosen by hand.
  if (!takes_forward(shape) || capability >= 100 || shape.context == 1) return false;
  // Up to 9.15.0 rows past the last whole block of 128 would need a mask of their own.
  return version > 91500 || shape.context % 128 == 0;
}

Graph forward_graph(const AttentionPart& part, const Target& target) {
  const Layout layout(part);
  Graph graph;
  const Node q = graph.tensor(query, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_qkv);
  const Node k_turned =
      graph.tensor(key, CUDNN_DATA_BFLOAT16, layout.kv_columns, layout.in_qkv_turned);
  const Node scores = scaled_scores(graph, layout, q, k_turned, graph.number(scale));
  const Node probabilities = softmax(graph, layout, mask(graph, layout, scores));
  const Node v = graph.tensor(value, CUDNN_DATA_BFLOAT16, layout.kv_rows, layout.in_qkv);
  graph.matmul(probabilities, v,
               graph.tensor(out, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_out));
  graph.finish(target);
  return graph;
}

Graph backward_graph(const AttentionPart& part, const Target& target, SumOrder order) {
  const Layout layout(part);
  Graph graph;
  const Node gradient = graph.tensor(dout, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_out);
  const Node sums = row_products(graph, layout, gradient);

  const Node q = graph.tensor(query, CUDNN_DATA_BFLOAT16, layout.rows, layout.in_qkv);
  const Node k_turned =
      graph.tensor(key, CUDNN_DATA_BFLOAT16, layout.kv_columns, layout.in_qkv_turned);
  const Node scaling = graph.number(scale);
  const Node scores = scaled_scores(graph, layout, q, k_turned, scaling);
  const Node probabilities = probabilities_again(graph, layout, scores);
  transposed_product(graph, layout, probabilities, gradient, dvalue);

  const Node dscores = scores_gradient(graph, layout, gradient, probabilities, sums, scaling);
  transposed_product(graph, layout, dscores, q, dkey);

  const Node k = graph.between(layout.kv_rows, layout.in_qkv, CUDNN_DATA_BFLOAT16);
  graph.reshape(k_turned, k);
  query_gradient(graph, layout, dscores, k, order);
  graph.finish(target);
  return graph;
}

}  // namespace train::cuda::cudnn
