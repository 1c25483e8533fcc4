#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "collectives/wide/protocol/state.hpp"

namespace train::wide {

/// What happens to a job, for programs to read: a file with one JSON object per line, of which each
/// is complete when it is there. {"time": seconds since 1970, "event": …} and, where they make
/// sense, "epoch", "round", "attempt", "clusters": [names], "hash": 16 hex digits, "tokens",
/// "reason". Events: started, connected, disconnected, refused, adopted, epoch, start, abort,
/// commit, finished, stopped.
class EventLog {
 public:
  /// Appends to the file; nowhere, if there is no path. Throws Error if it cannot be opened.
  /// `on_trouble` is told once if it cannot be written any more: a job does not end for that.
  EventLog(const std::optional<std::filesystem::path>& path,
           std::function<void(const std::string&)> on_trouble);
  ~EventLog();

  void started(const State& state);
  void cluster(const char* event, const std::string& name, const std::string& reason = {});
  /// A record that is durable now.
  void record(const Record& record);
  void aborted(const ExchangeId& id);
  void finished(const State& state);
  void stopped(const State& state);

 private:
  class File;
  std::unique_ptr<File> file_;
  std::vector<Contribution> in_flight_;
  ExchangeId last_aborted_;
};

}  // namespace train::wide
