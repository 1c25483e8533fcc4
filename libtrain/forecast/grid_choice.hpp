#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libtrain/forecast/memory_forecast.hpp"
#include "libtrain/forecast/step_forecast.hpp"

namespace train {

/// What there is to lay a training out on, and what was decided already.
struct GridQuestion {
  /// Model, types, device and the optimizer's options; what is to be chosen in it means nothing.
  TrainingShape training;
  int ranks = 1;
  std::int64_t batch = 1;         ///< sequences of a step, over all ranks
  std::int64_t memory_bytes = 0;  ///< of a rank
  DeviceRates device;
  Interconnect interconnect;
  std::optional<int> data, context, tensor;
  std::optional<int> shard;  ///< 0: all data ranks
  std::optional<Zero> zero;
  std::optional<bool> sequence_parallel;
  std::optional<Recompute> recompute;
  std::optional<std::int64_t> micro_batch;
};

/// A way to lay it out.
struct GridPlan {
  TrainingShape shape;
  MemoryForecast memory;
  StepForecast step;

  /// Where ranks get unequal shares, whose; "" where all divide.
  std::string unequal(std::int64_t batch) const;
};

struct GridChoice {
  /// Those that fit, the best of each grid and ZeRO stage, fastest first.
  std::vector<GridPlan> plans;
  /// Which of them to take: of those within 2% of the fastest the simplest, which has fewest ways
  /// to be slow: the fewest tensor and context ranks, the lowest stage, no copies of shards, no
  /// recomputation, few passes.
  std::size_t best = 0;
  /// Of all that were looked at, that which needs least memory.
  std::optional<GridPlan> smallest;
};

/// Looks at every grid of the ranks, every stage, shards on all data ranks and on those of a node,
/// rows whole and split, every recomputation and all micro-batches that divide a rank's share.
/// Throws Error where what was decided leaves none.
GridChoice choose_grid(const GridQuestion& question);

/// The least multiple of the ranks on which something fits, up to 4096 ranks.
std::optional<int> enough_ranks(GridQuestion question);

}  // namespace train
