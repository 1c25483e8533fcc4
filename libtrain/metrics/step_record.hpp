#pragma once

#include <cstdint>
#include <optional>

namespace train {

/// What one optimizer step did, for the whole job: one line of metrics.
struct StepRecord {
  std::int64_t step = 0;    ///< steps finished, this one included
  std::int64_t tokens = 0;  ///< tokens trained since step 0
  double loss = 0;          ///< mean cross-entropy over the step's tokens, nats
  double lr = 0;
  double grad_norm = 0;  ///< L2, before clipping
  double step_s = 0;
  double tokens_per_s = 0;
  double mfu = 0;                        ///< model FLOPs utilisation, 0 to 1; see flops.hpp
  double comm_s = 0;                     ///< time that the step waited for other ranks
  std::int64_t wide_bytes_sent = 0;      ///< to other clusters, since the start of the run
  std::int64_t wide_bytes_received = 0;  ///< from other clusters, since the start of the run
  std::optional<double> val_loss = std::nullopt;  ///< set by steps that ended with an evaluation
};

}  // namespace train
