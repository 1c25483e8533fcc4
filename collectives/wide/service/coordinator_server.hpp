#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::wide {

struct CoordinatorServerOptions {
  CoordinatorConfig coordinator;
  std::filesystem::path journal;  // a directory
  NodeOptions node;               // its name, lane and events are the server's own
  std::vector<std::string> listen;
  std::optional<std::filesystem::path> events{};  // see EventLog
  /// How long clusters that come late may still hear of the end of the job.
  std::chrono::milliseconds linger{30'000};
  /// Called on one thread of the server.
  std::function<void(const Log&)> on_log{};
};

/// The coordinator of a job with its journal and its links. Works on a thread of its own, which
/// carries out what the protocol says in its order, writes to the disk included.
class CoordinatorServer {
 public:
  /// Throws Error if the journal, the certificates or an address cannot be used.
  explicit CoordinatorServer(CoordinatorServerOptions options);
  /// Ends; the journal is as durable as always.
  ~CoordinatorServer();
  CoordinatorServer(const CoordinatorServer&) = delete;
  CoordinatorServer& operator=(const CoordinatorServer&) = delete;

  /// Of each address that it listens at.
  const std::vector<std::uint16_t>& ports() const;

  /// True when the job is over, and all clusters have left or the time for late ones has passed.
  /// False when `deadline` came first. Throws Error when the journal cannot be written: nothing
  /// more is decided then.
  bool wait(Deadline deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace train::wide
