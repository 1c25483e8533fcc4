#include "libtrain/forecast/activation_forecast.hpp"

#include <algorithm>

#include "libtrain/ops/cuda/loss_rows.hpp"

namespace train {
namespace {

// Bytes of single tensors on this rank.
struct Tensors {
  Tensors(const ModelOutline& outline, const TrainingShape& shape) {
    const GptConfig& config = shape.config;
    const std::int64_t e = shape.element();
    all_rows = outline.context_rows(shape.rows());
    const std::int64_t rows = outline.own_rows(shape.rows(), shape.splits_rows());
    stream = e * config.width * rows;
    all_stream = e * config.width * all_rows;
    gathered = shape.splits_rows() ? all_stream : 0;
    statistics = 4 * (config.norm == Norm::rms_norm ? 1 : 2) * rows;
    hidden = e * outline.hidden() * all_rows;
    const HeadRange heads = outline.attention_heads();
    const std::int64_t width = e * config.head_width;
    qkv = (heads.heads + 2 * heads.kv_heads) * width * shape.rows();
    out = heads.heads * width * shape.rows();
    lse = 4 * heads.heads * shape.rows();
    attention = qkv + out + lse;
    if (shape.context > 1) {
      const HeadRange& before = outline.heads();
      const HeadRange sent = outline.exchanged_heads();
      own_qkv = (before.heads + 2 * before.kv_heads) * width * all_rows;
      sent_qkv = (sent.heads + 2 * sent.kv_heads) * width * all_rows;
      own_out = before.heads * width * all_rows;
      attention += own_out;
    }
    mlp = (config.mlp == MlpKind::swiglu ? 3 : 2) * hidden;
    whole = 4 * stream + 2 * statistics + attention + mlp;
    block = whole;
    if (shape.recompute == Recompute::attention) block -= attention;
    if (shape.recompute == Recompute::block) block = stream;
  }
  std::int64_t all_rows;    // of the batch, or the context rank's part
  std::int64_t stream;      // of the residual stream, this rank's rows
  std::int64_t all_stream;  // the same with all rows
  std::int64_t gathered;    // the same, where this rank does not have all rows anyway
  std::int64_t statistics;  // of one norm
  std::int64_t hidden;      // one tensor of the MLP
  std::int64_t qkv, out, lse;
  // What context ranks exchange: before and behind attention, and packed on its way there.
  std::int64_t own_qkv = 0, sent_qkv = 0, own_out = 0;
  std::int64_t attention, mlp;  // all of them that are kept
  std::int64_t whole;           // a block, nothing recomputed
  std::int64_t block;           // a block as it is kept
};

// Logits of some rows in f32, in bf16 beside their gradients, and the results of these rows.
std::int64_t head_bytes(const ModelOutline& outline, const TrainingShape& shape) {
  const std::int64_t all_rows = outline.context_rows(shape.rows());
  const std::int64_t rows = std::min(loss_rows_of(outline, shape), all_rows);
  const auto logits = [&](DataType type) {
    const std::int64_t width =
        shape.gpu ? cuda::padded_width(outline.tokens(), type) : outline.tokens();
    return rows * width * static_cast<std::int64_t>(size_of(type));
  };
  // Losses of all rows; or what ranks exchange: these rows' maximum, and the sums of all rows up to
  // the last whole block.
  const std::int64_t done = rows == 0 ? 0 : all_rows / rows * rows;
  const std::int64_t results = shape.tensor == 1 ? 4 * all_rows : 4 * rows + 8 * done;
  return logits(DataType::f32) + (shape.type == DataType::bf16 ? logits(DataType::bf16) : 0) +
         results;
}

// Where features are few beside heads: the MLP is done, and attention goes backward.
std::int64_t attention_bytes(const Tensors& t, std::int64_t dropped) {
  const std::int64_t stream = 3 * t.stream + t.statistics;
  const std::int64_t writers = t.own_out == 0 ? t.out : t.own_out;  // its input's gradient
  const std::int64_t writer = stream + t.attention + writers + dropped + t.gathered;
  // Out of the rows of attention's output their heads, whose gradients then have all rows.
  const std::int64_t kept = stream + t.attention - t.own_out;
  const std::int64_t to_heads = kept + t.own_out + std::max(t.own_out, t.out);
  const std::int64_t attending = kept + t.out + t.qkv;
  const std::int64_t to_rows = stream + t.sent_qkv + std::max(t.qkv, t.own_qkv);
  return std::max({writer, to_heads, attending, to_rows});
}

// Where the last block's backward pass is, the most beside what the blocks before it keep.
std::int64_t last_block_bytes(const TrainingShape& shape, const Tensors& t) {
  const bool swiglu = shape.config.mlp == MlpKind::swiglu;
  const bool again = shape.recompute == Recompute::block;
  // From here on beside the gradient of the block's output.
  const std::int64_t last = (again ? t.whole : t.block) + t.stream;
  // A recomputed block's forward pass ends with the MLP's output and the block's.
  const std::int64_t sum = again ? last + 2 * t.stream : 0;
  // A dropped branch's gradient is not the stream's; until the layer before it has read it.
  const std::int64_t dropped = shape.config.dropout > 0.0f ? t.stream : 0;
  const std::int64_t down = last + dropped + t.gathered + t.hidden;
  const std::int64_t product = swiglu ? last + 2 * t.hidden : 0;
  // GELU's gradient has taken its output's place; of SwiGLU one tensor less is left.
  const std::int64_t up = last + 2 * t.gathered + t.stream - (swiglu ? t.hidden : 0);
  return std::max({sum, down, product, up, attention_bytes(t, dropped)});
}

}  // namespace

std::int64_t loss_rows_of(const ModelOutline& outline, const TrainingShape& shape) {
  return shape.gpu ? cuda::loss_rows(outline.tokens_most())
                   : outline.model().device().ops().loss_rows(outline.tokens_most());
}

ActivationForecast::ActivationForecast(const ModelOutline& outline, const TrainingShape& shape) {
  const Tensors t(outline, shape);
  const std::int64_t layers = shape.config.layers;
  block = t.block;
  kept = layers * t.block + 2 * t.stream + t.statistics;
  loss = (shape.tensor == 1 ? 4 : 8) * t.all_rows;
  // The loss's input, with all rows; of its gradient all rows, and then this rank's.
  const std::int64_t ends = kept + t.stream + 2 * t.gathered;
  const std::int64_t head = ends - (t.gathered > 0 ? t.stream : 0) + head_bytes(outline, shape);
  const std::int64_t last = (layers - 1) * t.block + last_block_bytes(shape, t);
  peak = std::max(head, std::max(ends, last) + loss) + (shape.passes - 1) * loss;
}

}  // namespace train
