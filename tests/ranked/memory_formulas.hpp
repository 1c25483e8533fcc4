#pragma once

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "libtrain/optimizer/sharded_optimizer.hpp"

// What a rank holds, by the papers.
//
// State (Rajbhandari et al.: "ZeRO", SC 2020), in bytes for Ψ parameters and N data ranks, where a
// parameter, its gradient and its optimizer state take p, g and o bytes:
//   stage 0: (p + g + o) Ψ   1: (p + g) Ψ + o Ψ / N   2: p Ψ + (g + o) Ψ / N   3: (p + g + o) Ψ / N
// f32 has p = g = 4 and o = 8, two moments. bf16 has p = 2, o = 12 with the f32 copy, and g = 4 or
// 2. Tensor parallelism makes Ψ a rank's own parameters: all but the norms, the positions and the
// writers' biases are divided by t.
//
// Activations (Korthikanti et al.: "Reducing activation recomputation in large transformer models",
// MLSys 2023, equations 1 to 4), restated for what the tape keeps. With M = sequences · context
// rows, m of them on this rank between the split layers (M / t with sequence parallelism, else M),
// e bytes per element, width C, hidden F, a query and k key heads of width d:
//   inputs and outputs of both norms                      4 C e m
//   their statistics: mean and 1/deviation of a row       16 m; RMS norms have no mean: 8 m
//   qkv and attention's output                            (2 a + 2 k) d e M / t
//   attention's log-sum-exp                               4 a M / t
//   GELU's input and output; or gate, up and product      2 F e M / t; or 3 F e M / t
// No matrix of context × context is kept, and no mask of a dropout, which counters give again. For
// GPT-2 that is 16 C e M: 32 s b h in bf16 where the paper has 34 + 5 a s / h. Recomputed attention
// leaves qkv, output and log-sum-exp out, a recomputed block keeps its input alone: C e m.
// After the blocks: the final norm's input and statistics, and the gradient of its output, which
// the loss has written already. Until it is read, the loss keeps 4 M for its rows, or 8 M where
// ranks share the vocabulary.

namespace train::memory {

// Rows of logits that exist at once.
inline constexpr std::int64_t head_rows = 256;

struct Case {
  GptConfig config;
  int data = 1;
  int tensor = 1;
  bool sequence_parallel = true;
  DataType type = DataType::f32;
  Recompute recompute = Recompute::none;
  OptimizerOptions optimizer{.bucket_bytes = 256 << 10, .resident_elements = 0};
  std::int64_t sequences = 1;  // of each data rank

  std::int64_t element() const { return static_cast<std::int64_t>(size_of(type)); }
  std::int64_t gradient() const {
    return static_cast<std::int64_t>(size_of(optimizer.gradient_type));
  }
  bool split_rows() const { return sequence_parallel && tensor > 1; }
};

inline std::string describe(const Case& c) {
  constexpr const char* recomputed[] = {"none", "attention", "block"};
  return fmt::format("{} {} gradients {} data {} tensor {}{} zero {} recompute {}",
                     c.config.mlp == MlpKind::gelu ? "gpt2 " : "llama", name_of(c.type),
                     name_of(c.optimizer.gradient_type), c.data, c.tensor,
                     c.split_rows() ? " sequence" : "", static_cast<int>(c.optimizer.zero),
                     recomputed[static_cast<int>(c.recompute)]);
}

// Parameters of one rank; everything divides.
inline std::int64_t parameters_of(const Case& c) {
  const GptConfig& g = c.config;
  const std::int64_t t = c.tensor;
  const std::int64_t heads = g.heads * g.head_width;
  const std::int64_t qkv = (g.heads + 2 * g.kv_heads) * g.head_width;
  const std::int64_t up = g.mlp == MlpKind::swiglu ? 2 * g.hidden : g.hidden;
  const std::int64_t norm = g.norm == Norm::rms_norm ? g.width : 2 * g.width;
  std::int64_t block = (qkv + heads + up + g.hidden) * g.width / t + 2 * norm;
  if (g.bias) block += (qkv + up) / t + 2 * g.width;
  std::int64_t rest = g.vocabulary * g.width / t + norm;
  if (!g.tied_head) rest += g.vocabulary * g.width / t;
  if (g.positions == Positions::learned) rest += g.context * g.width;
  return g.layers * block + rest;
}

// What a block keeps for the backward pass, by part; see the top of this file.
struct Kept {
  explicit Kept(const Case& c) {
    const GptConfig& g = c.config;
    const std::int64_t e = c.element();
    all_rows = c.sequences * g.context;
    rows = c.split_rows() ? all_rows / c.tensor : all_rows;
    stream = e * g.width * rows;
    gathered = c.split_rows() ? e * g.width * all_rows : 0;
    statistics = 4 * (g.norm == Norm::rms_norm ? 1 : 2) * rows;
    hidden = e * g.hidden * all_rows / c.tensor;
    const std::int64_t mlp = (g.mlp == MlpKind::swiglu ? 3 : 2) * hidden;
    const std::int64_t heads =
        e * (2 * g.heads + 2 * g.kv_heads) * g.head_width * all_rows / c.tensor +
        4 * g.heads * all_rows / c.tensor;
    whole = 4 * stream + 2 * statistics + heads + mlp;
    block = whole;
    if (c.recompute == Recompute::attention) block -= heads;
    if (c.recompute == Recompute::block) block = stream;
  }
  std::int64_t all_rows, rows;  // of the batch; of the residual stream on this rank
  std::int64_t stream;          // one tensor of the residual stream
  std::int64_t gathered;        // the same with all rows, where a rank has some only
  std::int64_t statistics;      // of one norm
  std::int64_t hidden;          // one tensor of the MLP
  std::int64_t whole;           // a block, nothing recomputed
  std::int64_t block;           // a block as it is kept
};

inline std::int64_t loss_bytes(const Case& c) {
  return (c.tensor == 1 ? 4 : 8) * Kept(c).all_rows;
}

// But for the loss.
inline std::int64_t kept_bytes(const Case& c) {
  const Kept kept(c);
  return c.config.layers * kept.block + 2 * kept.stream + kept.statistics;
}

// Logits of some rows: f32, in bf16 beside their gradients.
inline std::int64_t head_bytes(const Case& c, const Kept& kept) {
  const std::int64_t rows = std::min(head_rows, kept.all_rows);
  const std::int64_t logits = rows * c.config.vocabulary / c.tensor;
  // Losses of all rows; or maximum and sums of these rows, which ranks exchange.
  const std::int64_t results = c.tensor == 1 ? 4 * kept.all_rows : 3 * 4 * rows;
  return logits * (c.type == DataType::bf16 ? 4 + 2 : 4) + results;
}

// The most at once is in the head, or where the last block's backward pass is at its MLP.
inline std::int64_t peak_bytes(const Case& c) {
  const Kept kept(c);
  const bool swiglu = c.config.mlp == MlpKind::swiglu;
  const bool again = c.recompute == Recompute::block;
  // The loss's input, with all rows; of its gradient all rows, and then this rank's.
  const std::int64_t ends = kept_bytes(c) + kept.stream + 2 * kept.gathered;
  const std::int64_t head = ends - (kept.gathered > 0 ? kept.stream : 0) + head_bytes(c, kept);
  // From here on beside the gradient of the block's output.
  const std::int64_t last =
      (c.config.layers - 1) * kept.block + (again ? kept.whole : kept.block) + kept.stream;
  // A recomputed block's forward pass ends with the MLP's output and the block's.
  const std::int64_t sum = again ? last + 2 * kept.stream : 0;
  const std::int64_t down = last + kept.gathered + kept.hidden;
  const std::int64_t product = swiglu ? last + 2 * kept.hidden : 0;
  // GELU's gradient has taken its output's place; of SwiGLU one tensor less is left.
  const std::int64_t up = last + 2 * kept.gathered + kept.stream - (swiglu ? kept.hidden : 0);
  return std::max(head, std::max({ends, sum, down, product, up}) + loss_bytes(c));
}

}  // namespace train::memory
