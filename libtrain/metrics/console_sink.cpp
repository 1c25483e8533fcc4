#include "libtrain/metrics/console_sink.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

namespace train {
namespace {

void put(std::FILE* out, std::string_view text) {
  // A console that has gone away is no reason to stop a training run.
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
}

}  // namespace

ConsoleSink::ConsoleSink(ConsoleOptions options, std::FILE* out, SteadyClock clock)
    : options_(options),
      out_(out),
      clock_(std::move(clock)),
      terminal_(::fileno(out)),
      progress_(resolved(options.progress, terminal_)) {}

ConsoleSink::~ConsoleSink() {
  try {
    finish();
  } catch (...) {
    // Out of memory for one last line, perhaps while another exception is on its way.
  }
}

void ConsoleSink::write(const StepRecord& record) {
  if (progress_ == Progress::none) return;
  const auto now = clock_();
  const double now_s = std::chrono::duration<double>(now.time_since_epoch()).count();
  remaining_.update(record.step, now_s, record.step_s);
  if (record.val_loss) val_loss_ = record.val_loss;
  const auto interval =
      progress_ == Progress::live ? options_.live_interval : options_.plain_interval;
  const bool due = !shown_at_ || now - *shown_at_ >= interval;
  unshown_ = record;
  if (!due && !record.val_loss && record.step != options_.steps_total) return;
  show(record);
  shown_at_ = now;
}

void ConsoleSink::show(const StepRecord& record) {
  const bool live = progress_ == Progress::live;
  // A character in the last column would wrap on some terminals.
  const std::size_t columns =
      live ? terminal_.columns() - 1 : std::numeric_limits<std::size_t>::max();
  const double remaining_s = remaining_.seconds_for(options_.steps_total - record.step);
  std::string line = progress_line(record, options_.steps_total, live ? val_loss_ : record.val_loss,
                                   remaining_s, columns);
  const std::lock_guard lock(mutex_);
  if (live) {
    // Spaces cover what a longer line left behind.
    put(out_, fmt::format("\r{:<{}}", line, live_line_.size()));
    live_line_ = std::move(line);
  } else {
    put(out_, line + '\n');
  }
  unshown_.reset();
}

void ConsoleSink::print(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (live_line_.empty()) {
    put(out_, fmt::format("{}\n", text));
  } else {
    put(out_, fmt::format("\r{:<{}}\n{}", text, live_line_.size(), live_line_));
  }
}

void ConsoleSink::finish() {
  if (unshown_) show(StepRecord(*unshown_));
  const std::lock_guard lock(mutex_);
  if (!live_line_.empty()) put(out_, "\n");
  live_line_.clear();
}

}  // namespace train
