#pragma once

#include <deque>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/journal.hpp"
#include "collectives/wide/service/coordinator_server.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/wide/service/test_cluster.hpp"
#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {

/// What a server or a client logged.
class Lines {
 public:
  void add(const std::string& line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  std::size_t count(const std::string& part) const {
    const std::lock_guard lock(mutex_);
    std::size_t found = 0;
    for (const std::string& line : lines_) found += line.find(part) != std::string::npos ? 1 : 0;
    return found;
  }
  std::string all() const {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const std::string& line : lines_) text += line + "\n";
    return text;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

inline CoordinatorConfig quick_config(std::uint64_t clusters_min) {
  CoordinatorConfig config;
  config.clusters_min = clusters_min;
  config.heartbeat = {100, 1'000, 2'000, 6};
  config.gather_ms = 5'000;
  config.join_early_ms = 0;
  config.restart_grace_ms = 3'000;
  config.link_grace_ms = 500;
  config.rejoin_ms = 50;
  config.late_ms = 2'000;
  return config;
}

/// True when `holds` does, within a time that only a hung job needs.
template <typename Condition>
bool eventually(Condition holds, double seconds = 60) {
  const Deadline deadline = in_seconds(seconds);
  while (!holds()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// A job over loopback in this process: a coordinator that can be stopped and started again, and
/// clusters.
struct ServiceJob {
  explicit ServiceJob(std::uint64_t rounds, const Certificates* own = nullptr)
      : rounds_total(rounds), certificates(own) {}

  void start_coordinator() {
    CoordinatorServerOptions options;
    options.coordinator = config;
    options.journal = scratch / "job";
    if (certificates != nullptr) options.node.tls = certificates->of("coordinator");
    options.node.plaintext = certificates == nullptr;
    options.node.threads = 1;
    options.listen = {at_port(port)};
    options.events = scratch / "events.jsonl";
    options.linger = linger;
    options.on_log = [this](const Log& log) { lines.add(log.text); };
    server = std::make_unique<CoordinatorServer>(std::move(options));
    port = server->ports().front();
  }
  TestCluster& start_cluster(const std::string& name, TestClusterOptions options = {}) {
    options.name = name;
    options.coordinator_port = port;
    options.certificates = certificates;
    options.rounds_total = rounds_total;
    options.heartbeat = heartbeat;
    return *clusters.emplace_back(std::make_unique<TestCluster>(plane, options));
  }
  bool reaches(std::uint64_t round) {
    return eventually([&] { return plane.rounds() >= round; });
  }

  /// Waits until the job is over for all of them.
  void end_clusters() {
    for (const auto& cluster : clusters) {
      CHECK(cluster->wait_end(in_seconds(60)) == TestCluster::End::finished);
    }
    clusters.clear();
  }

  /// After the end: nothing went wrong, the journal says what truly happened, and all who are
  /// there hold the same.
  void check_end() {
    CAPTURE(lines.all());
    for (const std::string& trouble : plane.troubles()) FAIL_CHECK(trouble);
    const std::string file = train::test::read_file(scratch / "job/journal");
    const Replay journal = replay(std::as_bytes(std::span(file)));
    CHECK(journal.error == "");
    CHECK_FALSE(journal.torn);
    REQUIRE(journal.state.committed);
    CHECK(journal.state.committed->id.round == rounds_total);
    const Position position = journal.state.committed_info().position;
    RangeSet counted({0, position.next});
    counted.remove(position.holes);
    CHECK(counted == plane.trained());
    for (const auto& cluster : clusters) {
      if (cluster->end() != TestCluster::End::finished) continue;
      CHECK(cluster->round() == rounds_total);
      CHECK(cluster->hash() == journal.state.committed->hash);
    }
  }

  const std::uint64_t rounds_total;
  const Certificates* certificates;
  CoordinatorConfig config = quick_config(2);
  HeartbeatConfig heartbeat = config.heartbeat;  // of the clusters
  std::chrono::milliseconds linger{60'000};
  train::test::ScratchDirectory scratch;
  Lines lines;
  DataPlane plane;
  std::uint16_t port = 0;
  std::unique_ptr<CoordinatorServer> server;
  std::deque<std::unique_ptr<TestCluster>> clusters;
};

}  // namespace train::wide::test
