#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace train {

/// Where a job of several clusters stood after a step.
struct JobRecord {
  std::int64_t round = 0;        ///< the last one whose exchange was applied
  std::int64_t epoch = 0;        ///< grows when a cluster joins, leaves or is lost
  std::int64_t clusters = 0;     ///< in the epoch
  std::uint64_t state_hash = 0;  ///< of the outer state; the same in all clusters after a round
};

/// The held-out loss of one source of a mixture.
struct SourceLoss {
  std::string source;
  double loss;
};

/// What one optimizer step did, for the whole job: one line of metrics.
struct StepRecord {
  std::int64_t step = 0;    ///< steps finished, this one included
  std::int64_t tokens = 0;  ///< tokens trained since step 0
  double loss = 0;          ///< mean cross-entropy over the step's tokens, nats
  double lr = 0;
  double grad_norm = 0;  ///< L2, before clipping
  double step_s = 0;
  std::int64_t step_tokens = 0;  ///< of this step, on this cluster
  double tokens_per_s = 0;
  double mfu = 0;                        ///< model FLOPs utilisation, 0 to 1; see flops.hpp
  double comm_s = 0;                     ///< time that the step waited for other ranks
  std::int64_t wide_bytes_sent = 0;      ///< to other clusters, since the start of the run
  std::int64_t wide_bytes_received = 0;  ///< from other clusters, since the start of the run
  std::optional<double> egress_usd = std::nullopt;  ///< what sending so much has cost, if known
  std::optional<JobRecord> job = std::nullopt;      ///< in a job of several clusters
  std::optional<double> val_loss = std::nullopt;    ///< set by steps that ended with an evaluation
  std::vector<SourceLoss> val_losses = {};          ///< beside it, where the data are a mixture
  std::optional<double> choice_accuracy = std::nullopt;  ///< likewise; see ChoiceAccuracy
};

}  // namespace train
