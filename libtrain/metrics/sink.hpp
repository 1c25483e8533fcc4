#pragma once

#include "libtrain/metrics/step_record.hpp"

namespace train {

/// Where a run's metrics go. One rank of the job owns the sinks and calls them from one thread.
class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  MetricsSink(const MetricsSink&) = delete;
  MetricsSink& operator=(const MetricsSink&) = delete;

  /// Called after each step, in the order of steps. Throws Error when the record cannot be kept.
  virtual void write(const StepRecord& record) = 0;
  /// Called after the last step.
  virtual void finish() {}

 protected:
  MetricsSink() = default;
};

}  // namespace train
