#pragma once

#include <string>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

/// Layers whose names match `pattern` (a shell pattern: * stands for any text) are split so.
struct PlanRule {
  std::string pattern;
  Split split = Split::replicated;
};

/// How a model lies on the tensor group's ranks.
struct ParallelPlan {
  std::vector<PlanRule> rules;
  /// Between the split layers each rank holds some of the rows instead of all of them: norms,
  /// dropout and the residual stream cost 1/n of the memory, for the same traffic (Korthikanti et
  /// al.: "Reducing activation recomputation in large transformer models", MLSys 2023).
  bool sequence_parallel = true;
};

/// Attention by heads, the MLP by hidden features, embedding and head by vocabulary (Shoeybi et
/// al.: "Megatron-LM", 2019; Narayanan et al., SC 2021). Fits GPT-2 and Llama style.
ParallelPlan megatron_plan(bool sequence_parallel = true);

/// What parallelize() does to the parameters of rank `rank` in a tensor group of `ranks`, which
/// takes no other rank. Throws Error as it does.
void lay_out(Gpt& model, const ParallelPlan& plan, int ranks, int rank);

/// Splits the model over the grid's tensor group. Before weights are used, loaded by name or drawn
/// it costs no memory; afterwards each rank keeps its part. Heads, features and tokens that do not
/// divide evenly are dealt out unevenly; with fewer key/value heads than ranks, neighbours hold
/// copies of one. Before the optimizer is made. Collective. Throws Error, the same on every rank,
/// when a pattern matches no layer, a layer matches no pattern or two, a layer cannot be split so,
/// attention is replicated where GPUs add up in any order, or there are more ranks than tokens or
/// hidden features.
void parallelize(Gpt& model, const Grid& grid, const ParallelPlan& plan);

/// "column", "row", "vocabulary", "replicated".
const char* name_of(Split split);

}  // namespace train
