#include "libtrain/metrics/progress_line.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace train {

std::string human(double value) {
  if (!std::isfinite(value)) return "?";
  constexpr std::array<const char*, 5> units = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  // 999.5 rounds up to four digits, so the next unit starts there.
  for (; std::abs(value) >= 999.5 && unit + 1 < units.size(); ++unit) value /= 1000;
  if (unit == 0) return fmt::format("{:.0f}", value);
  const int decimals = std::abs(value) < 9.995 ? 2 : std::abs(value) < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, units[unit]);
}

std::string human_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "?";
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  const std::int64_t minutes = total / 60 % 60;
  const std::int64_t hours = total / 3600;
  if (hours >= 48) return fmt::format("{}d {}h", hours / 24, hours % 24);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60);
  return fmt::format("{}:{:02}", minutes, total % 60);
}

void RemainingTime::update(std::int64_t step, double now_s, double step_s) {
  if (!last_step_) {
    first_step_s_ = step_s;
  } else if (step > *last_step_) {
    constexpr double keep_per_step = 0.98;
    const auto steps = static_cast<double>(step - *last_step_);
    const double keep = std::pow(keep_per_step, steps);
    sum_s_ = keep * sum_s_ + (1 - keep) * (now_s - last_s_) / steps;
    weight_ = keep * weight_ + (1 - keep);
  }
  last_step_ = step;
  last_s_ = now_s;
}

double RemainingTime::seconds_for(std::int64_t steps) const {
  const double step_s = weight_ > 0 ? sum_s_ / weight_ : first_step_s_;
  return static_cast<double>(std::max<std::int64_t>(steps, 0)) * step_s;
}

std::string progress_line(const StepRecord& record, std::int64_t steps_total,
                          std::optional<double> val_loss, double remaining_s, std::size_t columns) {
  std::vector<std::string> fields;  // what matters most first
  fields.push_back(steps_total > 0 ? fmt::format("step {}/{}", record.step, steps_total)
                                   : fmt::format("step {}", record.step));
  fields.push_back(fmt::format("loss {:.4f}", record.loss));
  if (val_loss) fields.push_back(fmt::format("val {:.4f}", *val_loss));
  if (record.choice_accuracy) {
    fields.push_back(fmt::format("choices {:.1f}%", 100 * *record.choice_accuracy));
  }
  fields.push_back(fmt::format("{} tok/s", human(record.tokens_per_s)));
  if (steps_total > 0) fields.push_back(fmt::format("ETA {}", human_duration(remaining_s)));
  fields.push_back(fmt::format("lr {:.2e}", record.lr));
  if (record.mfu > 0) fields.push_back(fmt::format("MFU {:.1f}%", 100 * record.mfu));
  fields.push_back(fmt::format("grad {:.3g}", record.grad_norm));

  std::string line = fields.front().substr(0, columns);
  for (std::size_t i = 1; i < fields.size(); ++i) {
    if (line.size() + 2 + fields[i].size() > columns) break;
    line += "  " + fields[i];
  }
  return line;
}

}  // namespace train
