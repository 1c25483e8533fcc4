#pragma once

#include <string>

#include "libtrain/forecast/interconnect.hpp"
#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/forecast/training_shape.hpp"

namespace train {

/// What one rank's device does in a second.
struct DeviceRates {
  double flops = 0.0;         ///< of passes, as MFU counts them: peak times utilisation
  double memory_bytes = 0.0;  ///< to and from its memory
};

/// Seconds of a step on the slowest rank, and where they go. A model of what the code does, not a
/// measurement: kernels that are small, and threads that share cores, are slower than it says.
struct StepForecast {
  double passes_s = 0.0;     ///< forward and backward, recomputation with them
  double optimizer_s = 0.0;  ///< AdamW and the gradient's norm
  /// Stood still for the group; on processors at least what its exchanges take of their time.
  double tensor_s = 0.0, context_s = 0.0, data_s = 0.0;
  bool tensor_crosses_nodes = false;
  bool context_crosses_nodes = false;
  bool data_crosses_nodes = false;

  double seconds() const { return passes_s + optimizer_s + tensor_s + context_s + data_s; }
  /// What takes longest, in words.
  std::string limit() const;
};

/// What one rank alone computes in a second, where it was measured to train so many tokens of this
/// shape: without what the optimizer takes of its steps.
double flops_measured(const TrainingShape& shape, double tokens_per_s, double memory_bytes);

/// The buckets are those of the outline.
StepForecast forecast_step(const ModelOutline& outline, const std::vector<Bucket>& buckets,
                           const TrainingShape& shape, const DeviceRates& device,
                           const Interconnect& interconnect);

}  // namespace train
