#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "libtrain/metrics/step_record.hpp"

namespace train {

/// "950", "12.3k", "4.56M", "7.89G": at most five characters below 10^15.
std::string human(double value);
/// "0:07", "12:34", "3:25:45", "2d 4h".
std::string human_duration(double seconds);

/// How long is left, from the time between steps: whatever a step holds (evaluation, a save)
/// counts. An exponential mean over about the last 50 steps, unbiased from the first on.
class RemainingTime {
 public:
  /// A step has ended at `now_s` on some steady clock. `step_s` is the measure until a second one.
  void update(std::int64_t step, double now_s, double step_s);
  /// Seconds for `steps` more.
  double seconds_for(std::int64_t steps) const;

 private:
  std::optional<std::int64_t> last_step_;
  double last_s_ = 0;
  double first_step_s_ = 0;
  double sum_s_ = 0;
  double weight_ = 0;
};

/// One line about a step, such as
///   step 120/2000  loss 3.2145  val 3.3012  12.3k tok/s  ETA 12:34  lr 6.00e-04  MFU 41.2%
/// At most `columns` wide: what matters least goes first. A total of 0 is unknown. `val_loss` is
/// the latest one known, which record need not hold.
std::string progress_line(const StepRecord& record, std::int64_t steps_total,
                          std::optional<double> val_loss, double remaining_s, std::size_t columns);

}  // namespace train
