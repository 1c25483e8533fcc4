#pragma once

#include <cstdint>

#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/forecast/training_shape.hpp"

namespace train {

/// Bytes of one rank's memory while it trains, by the accounts of memory_report: those that stay,
/// and the most at once of those that pass.
struct MemoryForecast {
  std::int64_t parameters = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer_state = 0;
  std::int64_t activations = 0;    ///< at their peak
  std::int64_t communication = 0;  ///< buckets under way, and what stage 3 gathers, at their peak
  /// Of a rank that carries a lane to other clusters. Those of GPUs have it in the host's memory.
  std::int64_t lane = 0;
  /// What no account has: workspace of the ops, sizes rounded up, and on a GPU CUDA's own. An
  /// allowance, not a formula.
  std::int64_t beside = 0;

  std::int64_t state() const { return parameters + gradients + optimizer_state; }
  /// Peaks need not come at the same time: this is no less than what the rank needs at any.
  std::int64_t total() const { return state() + activations + communication + lane + beside; }
};

MemoryForecast forecast_memory(const ModelOutline& outline, const TrainingShape& shape);

/// Of the rank of the grid that needs most, where they differ.
MemoryForecast forecast_memory(const TrainingShape& shape);

}  // namespace train
