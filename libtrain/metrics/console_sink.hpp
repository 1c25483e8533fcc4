#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "libtrain/metrics/progress_line.hpp"
#include "libtrain/metrics/sink.hpp"
#include "libtrain/metrics/terminal.hpp"

namespace train {

struct ConsoleOptions {
  Progress progress = Progress::automatic;
  std::int64_t steps_total = 0;                    ///< of the whole run; 0: unknown, no ETA
  std::chrono::milliseconds plain_interval{5000};  ///< between plain lines
  std::chrono::milliseconds live_interval{100};    ///< between rewrites of the live line
};

/// Shows a run to whoever watches it. Live: one line, rewritten with \r, never wider than the
/// terminal. Plain: the first and the last step, every evaluation, and else a line per interval.
class ConsoleSink final : public MetricsSink {
 public:
  using SteadyClock = std::function<std::chrono::steady_clock::time_point()>;

  explicit ConsoleSink(ConsoleOptions options = {}, std::FILE* out = stdout,
                       SteadyClock clock = std::chrono::steady_clock::now);
  ~ConsoleSink() override;

  void write(const StepRecord& record) override;
  /// Whether one line is rewritten.
  bool live() const { return progress_ == Progress::live; }
  /// A line of other text, which leaves the live line whole. From any thread.
  void print(std::string_view text);
  /// Leaves the last record standing, with a newline. Also done on destruction.
  void finish() override;

 private:
  void show(const StepRecord& record);

  ConsoleOptions options_;
  std::FILE* out_;
  SteadyClock clock_;
  Terminal terminal_;
  Progress progress_;
  RemainingTime remaining_;
  std::optional<double> val_loss_;
  std::optional<StepRecord> unshown_;
  std::optional<std::chrono::steady_clock::time_point> shown_at_;
  std::mutex mutex_;       // of what follows, and of out_
  std::string live_line_;  // what stands on the terminal without a newline
};

}  // namespace train
