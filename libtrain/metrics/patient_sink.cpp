#include "libtrain/metrics/patient_sink.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {

template <typename Act>
void PatientSink::attempt(Act act) {
  try {
    act();
  } catch (const Error& error) {
    if (lost_++ == 0) warn_(fmt::format("{}; training goes on without its line", error.what()));
    return;
  }
  if (lost_ > 0) warn_(fmt::format("metrics are written again; {} lines were lost", lost_));
  lost_ = 0;
}

void PatientSink::write(const StepRecord& record) {
  attempt([&] { sink_->write(record); });
}

void PatientSink::finish() {
  if (lost_ > 0) warn_(fmt::format("the last {} lines of metrics were lost", lost_));
  lost_ = 0;
  attempt([&] { sink_->finish(); });
}

}  // namespace train
