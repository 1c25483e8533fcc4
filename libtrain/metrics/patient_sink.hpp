#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "libtrain/metrics/sink.hpp"

namespace train {

/// Records that cannot be kept (a full disk, a server that is away) are lost, and training goes on:
/// `warn` hears of the first loss, and how many there were when one is kept again or the run ends.
class PatientSink final : public MetricsSink {
 public:
  PatientSink(std::unique_ptr<MetricsSink> sink, std::function<void(const std::string&)> warn)
      : sink_(std::move(sink)), warn_(std::move(warn)) {}

  void write(const StepRecord& record) override;
  void finish() override;

 private:
  template <typename Act>
  void attempt(Act act);

  std::unique_ptr<MetricsSink> sink_;
  std::function<void(const std::string&)> warn_;
  std::int64_t lost_ = 0;  // since the last that was kept
};

}  // namespace train
