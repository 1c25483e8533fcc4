#include "libtrain/metrics/trace_events.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <iterator>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

// Names of groups are the user's: what is not UTF-8 in them is replaced.
std::string in_quotes(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

}  // namespace

std::uint32_t TraceEvents::add_channel(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto taken = [&](const std::string& wanted) {
    return std::ranges::find(tracks_, text_of(wanted), &Track::name) != tracks_.end();
  };
  std::string unique = name;
  for (int number = 2; taken(unique); ++number) unique = fmt::format("{} {}", name, number);
  tracks_.push_back({text_of(unique), true});
  return static_cast<std::uint32_t>(tracks_.size() - 1);
}

template <typename Store>
void TraceEvents::keep(const Store& store) noexcept {
  std::lock_guard lock(mutex_);
  if (events_.size() >= events_max_) {
    ++dropped_;
    return;
  }
  try {
    store();
  } catch (const std::exception&) {
    // Out of memory: the trace is fuller than its bound said.
    ++dropped_;
  }
}

void TraceEvents::add(std::uint32_t track, std::string_view name, TimeInterval when,
                      std::span<const TraceArgument> arguments) noexcept {
  keep([&] { store(track, name, when, arguments); });
}

void TraceEvents::add(std::string_view track, std::string_view name, TimeInterval when,
                      std::span<const TraceArgument> arguments) noexcept {
  keep([&] { store(track_called(track), name, when, arguments); });
}

std::uint32_t TraceEvents::track_called(std::string_view name) {
  const Text text = text_of(name);
  const auto found = std::ranges::find(tracks_, text, &Track::name);
  const auto number = static_cast<std::uint32_t>(found - tracks_.begin());
  if (found == tracks_.end()) tracks_.push_back({text, false});
  return number;
}

void TraceEvents::store(std::uint32_t track, std::string_view name, TimeInterval when,
                        std::span<const TraceArgument> arguments) {
  invariant(when.begin <= when.end, "a span ends after it begins");
  const std::size_t first = arguments_.size();
  for (const TraceArgument& argument : arguments) {
    const auto stored = [this](const auto& value) -> decltype(Argument::value) {
      if constexpr (std::is_same_v<decltype(value), const std::string_view&>)
        return text_of(value);
      else
        return value;
    };
    arguments_.push_back({text_of(argument.name), std::visit(stored, argument.value)});
  }
  events_.push_back({when, text_of(name), track, first, arguments.size()});
}

TraceEvents::Text TraceEvents::text_of(std::string_view text) {
  const auto found = texts_.find(text);
  if (found != texts_.end()) return found->second;
  const auto fresh = static_cast<Text>(quoted_.size());
  quoted_.push_back(in_quotes(text));
  texts_.emplace(text, fresh);
  return fresh;
}

std::vector<TimeInterval> TraceEvents::intervals(std::string_view track,
                                                 std::string_view name) const {
  std::lock_guard lock(mutex_);
  std::vector<TimeInterval> found;
  const auto wanted_track = texts_.find(track);
  const auto wanted_name = texts_.find(name);
  if (wanted_track == texts_.end() || (!name.empty() && wanted_name == texts_.end())) return found;
  for (const Event& event : events_) {
    if (tracks_[event.track].name != wanted_track->second) continue;
    if (name.empty() || event.name == wanted_name->second) found.push_back(event.when);
  }
  return found;
}

std::int64_t TraceEvents::kept() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(events_.size());
}

std::int64_t TraceEvents::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

void TraceEvents::render(int rank, const TraceClock& clock, Clock::time_point origin,
                         const std::function<void(std::string_view)>& put) const {
  std::string piece;
  std::vector<std::uint32_t> order;
  {
    std::lock_guard lock(mutex_);
    piece = metadata(rank);
    order = in_order();
  }
  for (std::size_t i = 0; i < order.size();) {
    {
      std::lock_guard lock(mutex_);
      for (; i < order.size() && piece.size() < piece_bytes; ++i) {
        append(piece, events_[order[i]], rank, clock, origin);
      }
    }
    put(piece);
    piece.clear();
  }
  if (!piece.empty()) put(piece);
}

// Spans come when they end, those within others first; viewers want the outer one first.
std::vector<std::uint32_t> TraceEvents::in_order() const {
  std::vector<std::uint32_t> order(events_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [this](std::uint32_t left, std::uint32_t right) {
    const TimeInterval& a = events_[left].when;
    const TimeInterval& b = events_[right].when;
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  return order;
}

std::string TraceEvents::metadata(int rank) const {
  std::string text;
  const auto add = [&](std::size_t thread, const char* name, const std::string& value) {
    fmt::format_to(std::back_inserter(text),
                   ",\n"
                   R"({{"ph":"M","pid":{},"tid":{},"name":"{}","args":{{{}}}}})",
                   rank, thread, name, value);
  };
  add(0, "process_name", fmt::format(R"("name":"rank {}")", rank));
  add(0, "process_sort_index", fmt::format(R"("sort_index":{})", rank));
  if (dropped_ > 0) {
    add(0, "process_labels", fmt::format(R"("labels":"full: {} spans dropped")", dropped_));
  }
  for (std::size_t i = 0; i < tracks_.size(); ++i) {
    const std::size_t place = tracks_[i].is_channel ? tracks_.size() + i : i;
    add(i + 1, "thread_name", fmt::format(R"("name":{})", quoted(tracks_[i].name)));
    add(i + 1, "thread_sort_index", fmt::format(R"("sort_index":{})", place));
  }
  return text;
}

void TraceEvents::append(std::string& piece, const Event& event, int rank, const TraceClock& clock,
                         Clock::time_point origin) const {
  const auto begin = clock.on_root(event.when.begin);
  const auto end = clock.on_root(event.when.end);
  fmt::format_to(std::back_inserter(piece),
                 ",\n"
                 R"({{"ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"{}","name":{})",
                 rank, event.track + 1, microseconds(begin - origin), microseconds(end - begin),
                 tracks_[event.track].is_channel ? "communication" : "computation",
                 quoted(event.name));
  if (event.arguments > 0) {
    piece += R"(,"args":{)";
    for (std::size_t i = 0; i < event.arguments; ++i) {
      if (i > 0) piece += ',';
      append(piece, arguments_[event.first_argument + i]);
    }
    piece += '}';
  }
  piece += '}';
}

void TraceEvents::append(std::string& piece, const Argument& argument) const {
  piece += quoted(argument.name);
  piece += ':';
  if (const auto* text = std::get_if<Text>(&argument.value)) {
    piece += quoted(*text);
  } else if (const auto* whole = std::get_if<std::int64_t>(&argument.value)) {
    fmt::format_to(std::back_inserter(piece), "{}", *whole);
  } else {
    const double number = std::get<double>(argument.value);
    piece += std::isfinite(number) ? fmt::format("{}", number) : "null";
  }
}

}  // namespace train::detail
