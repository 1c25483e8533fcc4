#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libtrain/metrics/trace.hpp"

namespace train::detail {

/// One rank's spans: a bounded store that any thread may add to, and their text in the file.
class TraceEvents {
 public:
  explicit TraceEvents(std::size_t events_max) : events_max_(events_max) {}

  /// A new track for communication, called `name` or, if there is one already, "`name` 2", ….
  std::uint32_t add_channel(const std::string& name);
  void add(std::uint32_t track, std::string_view name, TimeInterval when,
           std::span<const TraceArgument> arguments) noexcept;
  void add(std::string_view track, std::string_view name, TimeInterval when,
           std::span<const TraceArgument> arguments) noexcept;

  std::vector<TimeInterval> intervals(std::string_view track, std::string_view name) const;
  std::size_t events_max() const { return events_max_; }
  std::int64_t kept() const;
  std::int64_t dropped() const;

  /// The rank's elements of traceEvents, each behind a comma, in pieces of about `piece_bytes`:
  /// first names of process and threads, then the spans in order. Adding may go on meanwhile.
  void render(int rank, const TraceClock& clock, Clock::time_point origin,
              const std::function<void(std::string_view)>& put) const;
  static constexpr std::size_t piece_bytes = std::size_t{256} << 10;

 private:
  /// A place in texts_.
  enum class Text : std::uint32_t {};
  struct Track {
    Text name;
    bool is_channel;
  };
  struct Argument {
    Text name;
    std::variant<std::int64_t, double, Text> value;
  };
  struct Event {
    TimeInterval when;
    Text name;
    std::uint32_t track;
    std::size_t first_argument;
    std::size_t arguments;
  };

  // All but keep(), which takes it, are called with the lock held.
  template <typename Store>
  void keep(const Store& store) noexcept;
  std::uint32_t track_called(std::string_view name);
  void store(std::uint32_t track, std::string_view name, TimeInterval when,
             std::span<const TraceArgument> arguments);
  Text text_of(std::string_view text);
  std::string_view quoted(Text text) const { return quoted_[static_cast<std::size_t>(text)]; }
  std::vector<std::uint32_t> in_order() const;
  std::string metadata(int rank) const;
  void append(std::string& piece, const Event& event, int rank, const TraceClock& clock,
              Clock::time_point origin) const;
  void append(std::string& piece, const Argument& argument) const;

  const std::size_t events_max_;
  mutable std::mutex mutex_;
  /// Each text once, as it came and as it stands in JSON.
  std::map<std::string, Text, std::less<>> texts_;
  std::vector<std::string> quoted_;
  std::vector<Track> tracks_;
  // Deques: growing copies nothing.
  std::deque<Event> events_;
  std::deque<Argument> arguments_;
  std::int64_t dropped_ = 0;
};

}  // namespace train::detail
