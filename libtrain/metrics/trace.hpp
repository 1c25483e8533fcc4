#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/metrics/overlap.hpp"
#include "libtrain/metrics/trace_clock.hpp"

namespace train {

namespace detail {
class TraceEvents;
}

/// A named value that a span carries: {"step", 3}.
struct TraceArgument {
  std::string_view name;
  std::variant<std::int64_t, double, std::string_view> value;

  TraceArgument(std::string_view name_, std::integral auto value_)
      : name(name_), value(static_cast<std::int64_t>(value_)) {}
  TraceArgument(std::string_view name_, double value_) : name(name_), value(value_) {}
  TraceArgument(std::string_view name_, std::string_view value_) : name(name_), value(value_) {}
};

/// What ran when, on every rank: a timeline that https://ui.perfetto.dev and chrome://tracing show.
/// Each rank keeps its spans in memory until write() puts them into one file, in the JSON object
/// form of the Trace Event Format: a process per rank, a thread per track, times in microseconds.
///
/// Times are those of rank 0's clock: exact for ranks on its node, elsewhere to half the quickest
/// of some round trips at construction and at write() (the file says how much that was, typically
/// 5 to 50 us); in between, drift is taken to be even.
class Trace {
 public:
  static constexpr std::size_t default_events_max = 250'000;

  /// Collective over `world`, which must outlive the trace. Rank 0 will write `path`; if it cannot,
  /// every rank throws an Error that names it. A rank keeps its first `events_max` spans, about 40
  /// bytes each and 160 for a collective, and drops later ones; the file says how many.
  Trace(Communicator& world, std::filesystem::path path,
        std::size_t events_max = default_events_max);
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  ~Trace();

  /// Adds a span to a track, which appears with its first span. Spans of one track may nest, but
  /// not overlap in part: give each thread tracks of its own. Thread-safe; texts are copied.
  void span(std::string_view track, std::string_view name, Clock::time_point begin,
            Clock::time_point end, const std::vector<TraceArgument>& arguments = {}) noexcept;

  /// Observes `ranks`: a track of the group's name ("data 2" if "data" is taken) shows each
  /// collective from the head of the queue to its end, with bytes sent, count, type, sequence and
  /// the microseconds it had queued. Trace and communicator may end in either order.
  void follow(Communicator& ranks);

  /// When something ran on a track of this rank: all its spans, or those with one name.
  std::vector<TimeInterval> intervals(std::string_view track, std::string_view name = {}) const;

  /// Collective: writes the spans so far of all ranks, replacing what stood at the path before.
  /// Rank 0 takes one rank after the other in pieces of 256 KiB. If it cannot write, every rank
  /// throws its Error. May be called again, with more spans.
  void write() const;

 private:
  // No group of its own: the first rank to throw would end it under the others' feet.
  Communicator& world_;
  std::filesystem::path path_;
  /// Shared with observers, which may outlive the trace.
  std::shared_ptr<detail::TraceEvents> events_;
  /// Rank 0's clock when the trace began: time 0 of the file.
  Clock::time_point origin_;
  detail::ClockReading first_reading_;
};

/// A span that ends with its scope: `const TraceScope scope(trace, "compute", "forward");`. Does
/// nothing without a trace. Texts must outlive it: literals.
class TraceScope {
 public:
  TraceScope(Trace* trace, std::string_view track, std::string_view name,
             std::vector<TraceArgument> arguments = {})
      : trace_(trace), track_(track), name_(name), arguments_(std::move(arguments)) {
    if (trace_ != nullptr) begin_ = Clock::now();
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;
  ~TraceScope() {
    if (trace_ != nullptr) trace_->span(track_, name_, begin_, Clock::now(), arguments_);
  }

 private:
  Trace* trace_;
  std::string_view track_;
  std::string_view name_;
  std::vector<TraceArgument> arguments_;
  Clock::time_point begin_;
};

}  // namespace train
