#pragma once

#include <cstdint>

#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/forecast/training_shape.hpp"

namespace train {

/// Bytes that one rank books as activations while it trains (Korthikanti et al.: "Reducing
/// activation recomputation in large transformer models", MLSys 2023, equations 1 to 4, restated
/// for what the tape keeps). With M = sequences · context rows, m of them on this rank between the
/// split layers (M / t with sequence parallelism, else M), e bytes per element, width C, hidden F,
/// a query and k key heads of width d, a block keeps
///   inputs and outputs of both norms                      4 C e m
///   their statistics: mean and 1/deviation of a row       16 m; RMS norms have no mean: 8 m
///   qkv and attention's output                            (2 a + 2 k) d e M / t
///   attention's log-sum-exp                               4 a M / t
///   GELU's input and output; or gate, up and product      2 F e M / t; or 3 F e M / t
/// No matrix of context × context is kept, and no mask of a dropout, which counters give again. For
/// GPT-2 that is 16 C e M: 32 s b h in bf16 where the paper has 34 + 5 a s / h. Recomputed
/// attention leaves qkv, output and log-sum-exp out, a recomputed block keeps its input alone: C e
/// m. After the blocks: the final norm's input and statistics, and the gradient of its output,
/// which the loss has written already.
struct ActivationForecast {
  ActivationForecast(const ModelOutline& outline, const TrainingShape& shape);

  std::int64_t block = 0;  ///< that each block keeps
  std::int64_t kept = 0;   ///< at the end of a forward pass, but for the loss
  std::int64_t loss = 0;   ///< of one pass, until its value is read: at the end of a step
  std::int64_t peak = 0;   ///< the most at once in a step
};

/// Rows of logits that are there at once.
std::int64_t loss_rows_of(const ModelOutline& outline, const TrainingShape& shape);

}  // namespace train
