#include "libtrain/metrics/trace.hpp"

#include <array>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/agreement.hpp"
#include "libtrain/checkpoint/file.hpp"
#include "libtrain/metrics/trace_events.hpp"

namespace train {
namespace {

// Far from the small numbers that others choose.
constexpr int piece_tag = (1 << 19) + 2;

/// What rank 0 does to the file. Goes on as if nothing had happened after a failure, so that ranks
/// that are sending are heard out; then failure() tells all of them.
class TraceFile {
 public:
  explicit TraceFile(const std::filesystem::path& path) : path_(path) {
    attempt([&] {
      if (path.empty()) throw Error("it has no name");
      if (std::filesystem::is_directory(path)) throw Error("it is a directory");
      file_.emplace(path);
    });
  }

  void put(std::string_view text) {
    attempt([&] { file_->file().write(text); });
  }
  void commit() {
    attempt([&] { file_->commit(); });
  }
  const std::string& failure() const { return failure_; }

 private:
  void attempt(const std::function<void()>& task) {
    if (!failure_.empty()) return;
    try {
      task();
    } catch (const std::exception& error) {
      failure_ = fmt::format("cannot write the trace '{}': {}", path_.string(), error.what());
    }
  }

  std::filesystem::path path_;
  std::optional<AtomicFile> file_;
  std::string failure_;
};

/// Collective: every rank throws what rank 0's file met.
void require_healthy(Communicator& ranks, const std::optional<TraceFile>& file) {
  const std::string failure = first_said(ranks, file ? file->failure() : "");
  if (!failure.empty()) throw Error(failure);
}

void send_piece(Communicator& ranks, std::string_view piece) {
  auto bytes = static_cast<std::int64_t>(piece.size());
  ranks.send(std::span(&bytes, 1), 0, piece_tag).wait();
  if (bytes > 0) {
    ranks.send(ConstBuffer(piece.data(), piece.size(), DataType::u8), 0, piece_tag).wait();
  }
}

/// Until `peer` sends an empty piece.
void receive_pieces(Communicator& ranks, int peer, TraceFile& file) {
  std::string piece;
  while (true) {
    std::int64_t bytes = 0;
    ranks.receive(std::span(&bytes, 1), peer, piece_tag).wait();
    if (bytes == 0) return;
    piece.resize(static_cast<std::size_t>(bytes));
    ranks.receive(Buffer(piece.data(), piece.size(), DataType::u8), peer, piece_tag).wait();
    file.put(piece);
  }
}

/// What each rank has to say about its part of the file, by rank. Collective.
nlohmann::json gather_summary(Communicator& ranks, const detail::TraceEvents& events,
                              Clock::duration accuracy) {
  std::array<std::int64_t, 3> mine{events.kept(), events.dropped(), accuracy.count()};
  const std::vector<std::size_t> counts(static_cast<std::size_t>(ranks.size()), mine.size());
  std::vector<std::int64_t> all(counts.size() * mine.size());
  ranks.all_gather(std::span(mine), std::span(all), counts).wait();
  nlohmann::json summary{{"ranks", ranks.size()}, {"events_max_per_rank", events.events_max()}};
  for (std::size_t i = 0; i < all.size(); i += mine.size()) {
    summary["events"].push_back(all[i]);
    summary["dropped_events"].push_back(all[i + 1]);
    const Clock::duration wrong_by(all[i + 2]);
    summary["clock_accuracy_us"].push_back(
        std::chrono::duration<double, std::micro>(wrong_by).count());
  }
  return summary;
}

}  // namespace

Trace::Trace(Communicator& world, std::filesystem::path path, std::size_t events_max)
    : world_(world),
      path_(std::move(path)),
      events_(std::make_shared<detail::TraceEvents>(events_max)) {
  std::optional<TraceFile> file;
  if (world_.rank() == 0) file.emplace(path_);
  require_healthy(world_, file);
  std::int64_t now = Clock::now().time_since_epoch().count();
  world_.broadcast(std::span(&now, 1), 0).wait();
  origin_ = Clock::time_point(Clock::duration(now));
  first_reading_ = detail::compare_clocks(world_);
}

Trace::~Trace() = default;

void Trace::span(std::string_view track, std::string_view name, Clock::time_point begin,
                 Clock::time_point end, const std::vector<TraceArgument>& arguments) noexcept {
  events_->add(track, name, {begin, end}, arguments);
}

void Trace::follow(Communicator& ranks) {
  const std::uint32_t track = events_->add_channel(ranks.name());
  ranks.observe([track, store = std::weak_ptr(events_)](const CallRecord& call) {
    const auto events = store.lock();
    if (!events) return;
    const std::chrono::duration<double, std::micro> queued_us = call.began - call.called;
    const std::array<TraceArgument, 5> arguments{{{"bytes", call.bytes_sent},
                                                  {"count", call.count},
                                                  {"type", std::string_view(name_of(call.type))},
                                                  {"sequence", call.sequence},
                                                  {"queued_us", queued_us.count()}}};
    events->add(track, call.operation, {call.began, call.ended}, arguments);
  });
}

std::vector<TimeInterval> Trace::intervals(std::string_view track, std::string_view name) const {
  return events_->intervals(track, name);
}

void Trace::write() const {
  const detail::TraceClock clock(first_reading_, detail::compare_clocks(world_));
  const auto summary = gather_summary(world_, *events_, clock.accuracy());
  std::optional<TraceFile> file;
  if (world_.rank() == 0) file.emplace(path_);
  if (file) file->put(R"({"displayTimeUnit":"ms","traceEvents":[)");
  for (int turn = 0; turn < world_.size(); ++turn) {
    if (world_.rank() == turn) {
      bool first = turn == 0;
      events_->render(turn, clock, origin_, [&](std::string_view piece) {
        // The comma before the file's first element.
        if (std::exchange(first, false)) piece.remove_prefix(1);
        if (file) {
          file->put(piece);
        } else {
          send_piece(world_, piece);
        }
      });
      if (!file) send_piece(world_, "");
    } else if (file) {
      receive_pieces(world_, turn, *file);
    }
    // Also has the later ranks wait here, one turn at a time, rather than on a send for all turns.
    require_healthy(world_, file);
  }
  if (file) {
    file->put("\n],\n\"otherData\":" + summary.dump() + "}\n");
    file->commit();
  }
  require_healthy(world_, file);
}

}  // namespace train
