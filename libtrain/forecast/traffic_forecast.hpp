#pragma once

#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/forecast/training_shape.hpp"
#include "libtrain/model/gpt.hpp"

namespace train {

/// Bytes that a rank sends to the others of one group in one step, by kind of call, as the group's
/// communicator counts them.
struct StepTraffic {
  double all_reduce = 0.0;
  double reduce_scatter = 0.0;
  double all_gather = 0.0;
  double all_to_all = 0.0;
  /// Of `all_reduce`: messages of a few numbers, such as the loss's. A backend may send those whole
  /// to every rank, which saves a round and costs n / 2 times the bytes.
  double small = 0.0;

  double total() const { return all_reduce + reduce_scatter + all_gather + all_to_all; }
};

/// Data parallelism and ZeRO over n ranks that hold Ψ parameters each (Rajbhandari et al., SC 2020,
/// section 7), with gradients of g and values of p bytes and k passes:
///   stage 0: 2 Ψ g (n-1)/n    an all-reduce
///   stage 1: Ψ (g + p) (n-1)/n    a reduce-scatter of gradients, an all-gather of values
///   stage 2: Ψ (k g + p) (n-1)/n    gradients leave in every pass
///   stage 3: Ψ k (g + 2 p) (n-1)/n    values are gathered forward and backward
/// Stage 3 counts parameters that stay on all ranks as stage 2 does, and what the backward pass
/// does not read once. A bucket's padding is left out. The model is one that is laid out. Where
/// shards lie on a part of the data group, n counts that part.
StepTraffic data_traffic(const Gpt& model, const TrainingShape& shape);
/// Between the r ranks with copies of a shard of n: 2 (Ψ/n) g (r-1)/r, as an all-reduce.
StepTraffic replica_traffic(const Gpt& model, const TrainingShape& shape);

/// Tensor parallelism over t ranks, for L layers, M rows of width C in e bytes (Shoeybi et al.,
/// 2019; Korthikanti et al., MLSys 2023), each pass:
///   whole rows: (4 L + 2) all-reduces, 2 M C e (t-1)/t each: 4 per layer, the embedding's output
///     and the gradient of the head's input;
///   split rows: (4 L + 2) reduce-scatters and (6 L + 2) all-gathers, M C e (t-1)/t each; 2 of a
///     layer's gathers fetch its readers' inputs again in the backward pass;
///   the loss: 3 numbers per row, all-reduced in f32.
/// A forward pass that is computed again makes its exchanges again: 1 pair per layer (attention) or
/// 2 (block). Split rows add the norms' gradients: an all-reduce per reduction of gradients.
StepTraffic tensor_traffic(const TrainingShape& shape);

/// Context parallelism over n ranks, for L layers, M rows over all of them, A query and K key/value
/// heads of width d that the ranks have together after the exchange (of a tensor rank's; one that
/// several ranks need counts as often), each pass: 2 L (2 A + 2 K) M d e (n-1)/n² bytes where all
/// divides: queries, keys and values there and attention's output back, forward and backward
/// (Jacobs et al.: "DeepSpeed Ulysses", 2023). What is recomputed is exchanged once more forward.
StepTraffic context_traffic(const ModelOutline& outline, const TrainingShape& shape);

}  // namespace train
