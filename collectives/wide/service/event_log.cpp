#include "collectives/wide/service/event_log.hpp"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train::wide {
namespace {

using Json = nlohmann::ordered_json;

Json event(const char* name) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return {{"time", now.count()}, {"event", name}};
}

Json event(const char* name, const ExchangeId& id) {
  Json line = event(name);
  line["epoch"] = id.epoch;
  line["round"] = id.round;
  line["attempt"] = id.attempt;
  return line;
}

void add_hash(Json& line, std::uint64_t hash) {
  line["hash"] = fmt::format("{:016x}", hash);
}

void add_clusters(Json& line, const std::vector<Contribution>& contributions) {
  Json names = Json::array();
  for (const Contribution& each : contributions) names.push_back(each.self.name);
  line["clusters"] = std::move(names);
}

void add_clusters(Json& line, const std::vector<EpochMember>& members) {
  Json names = Json::array();
  for (const EpochMember& each : members) names.push_back(each.self.name);
  line["clusters"] = std::move(names);
}

void add_state(Json& line, const State& state) {
  add_clusters(line, state.members);
  if (state.committed) add_hash(line, state.committed->hash);
}

ExchangeId last_of(const State& state) {
  return state.committed ? state.committed->id : ExchangeId{};
}

}  // namespace

class EventLog::File {
 public:
  File(const std::filesystem::path& path, std::function<void(const std::string&)> on_trouble)
      : path_(path),
        on_trouble_(std::move(on_trouble)),
        descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) throw Error(trouble("open"));
  }
  ~File() { ::close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(const Json& line) {
    if (in_trouble_) return;
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    const auto written = ::write(descriptor_, text.data(), text.size());
    if (written == static_cast<ssize_t>(text.size())) return;
    in_trouble_ = true;
    if (written >= 0) errno = ENOSPC;
    if (on_trouble_) on_trouble_(trouble("write") + "; events are not written any more");
  }

 private:
  std::string trouble(const char* what) const {
    return fmt::format("cannot {} events to {}: {}", what, path_.string(),
                       std::generic_category().message(errno));
  }

  std::filesystem::path path_;
  std::function<void(const std::string&)> on_trouble_;
  int descriptor_;
  bool in_trouble_ = false;
};

EventLog::EventLog(const std::optional<std::filesystem::path>& path,
                   std::function<void(const std::string&)> on_trouble) {
  if (path) file_ = std::make_unique<File>(*path, std::move(on_trouble));
}

EventLog::~EventLog() = default;

void EventLog::started(const State& state) {
  if (state.in_flight) in_flight_ = state.in_flight->contributions;
  if (!file_) return;
  Json line = event("started", last_of(state));
  add_state(line, state);
  file_->write(line);
}

void EventLog::cluster(const char* name, const std::string& cluster, const std::string& reason) {
  if (!file_) return;
  Json line = event(name);
  line["clusters"] = Json::array({cluster});
  if (!reason.empty()) line["reason"] = reason;
  file_->write(line);
}

void EventLog::record(const Record& record) {
  if (!file_) return;
  if (const auto* adopted = std::get_if<Adopted>(&record)) {
    Json line = event("adopted", adopted->state.id);
    add_hash(line, adopted->state.hash);
    file_->write(line);
  } else if (const auto* opened = std::get_if<EpochOpened>(&record)) {
    Json line = event("epoch");
    line["epoch"] = opened->epoch;
    add_clusters(line, opened->members);
    file_->write(line);
  } else if (const auto* attempt = std::get_if<AttemptStarted>(&record)) {
    in_flight_ = attempt->contributions;
    Json line = event("start", attempt->id);
    add_clusters(line, in_flight_);
    line["bandwidth_kbit"] = Json::array();
    for (const Contribution& each : in_flight_) {
      line["bandwidth_kbit"].push_back(each.bandwidth_kbit);
    }
    file_->write(line);
  } else if (const auto* commit = std::get_if<Committed>(&record)) {
    Json line = event("commit", commit->id);
    add_clusters(line, in_flight_);
    add_hash(line, commit->hash);
    std::uint64_t tokens = 0;
    for (const Contribution& each : in_flight_) tokens += each.tokens;
    line["tokens"] = tokens;
    file_->write(line);
  }
}

void EventLog::aborted(const ExchangeId& id) {
  if (std::exchange(last_aborted_, id) == id || !file_) return;  // said to each member
  file_->write(event("abort", id));
}

void EventLog::finished(const State& state) {
  if (!file_) return;
  Json line = event("finished", last_of(state));
  add_state(line, state);
  file_->write(line);
}

void EventLog::stopped(const State& state) {
  if (!file_) return;
  Json line = event("stopped", last_of(state));
  add_state(line, state);
  file_->write(line);
}

}  // namespace train::wide
