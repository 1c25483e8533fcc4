#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "collectives/wide/service/member_client.hpp"
#include "tests/wide/service/data_plane.hpp"
#include "tests/wide/stream/certificates.hpp"

namespace train::wide::test {

struct TestClusterOptions {
  std::string name{};
  std::uint16_t coordinator_port = 0;
  const Certificates* certificates = nullptr;  // none: plaintext
  std::uint64_t rounds_total = 0;
  std::uint64_t batch = 4;
  int steps = 2;  // in a round
  std::chrono::milliseconds step{3};
  HeartbeatConfig heartbeat{100, 1'000, 2'000, 6};
  std::chrono::milliseconds fetch{0};
  std::chrono::milliseconds hang_min{600'000};
};

/// A cluster that trains by a script, with a real client and a real node, on a thread of its own.
class TestCluster {
 public:
  TestCluster(DataPlane& plane, TestClusterOptions options);
  /// Vanishes, if it has not ended yet: its sockets close, and it says nothing to the coordinator.
  ~TestCluster();

  void leave(std::uint64_t notice_ms) { client_.leave(notice_ms); }

  enum class End { none, finished, released, too_late, refused };
  /// How it has ended, until `deadline`.
  End wait_end(Deadline deadline) const;
  End end() const { return end_; }
  std::uint64_t round() const { return client_.committed().id.round; }
  std::uint64_t hash() const { return client_.committed().hash; }
  bool in_epoch() const { return client_.in_epoch(); }
  int fetches() const { return fetches_; }
  MemberClient& client() { return client_; }
  /// Its loop stands still, while its client and its node live on.
  void hang(bool hangs) { hangs_ = hangs; }

 private:
  void run();
  void tell_links();
  void on(const BeginRound& order);
  void on(const FinishRound& order);
  void on(const LeaseChanged& order);
  void on(const RunExchange& order);
  void on(const StopExchange& order);
  void on(const ApplyExchange& order);
  void on(const Discard& order);
  void on(const FetchState& order);
  void on(const StopFetch& order);
  void on(const JobFinished& order);
  void on(const Stop& order);
  void train();
  void end_round();
  void exchange();
  void fetch();

  DataPlane& plane_;
  const TestClusterOptions options_;
  const Identity self_;
  MemberClient client_;
  std::unique_ptr<Node> node_;

  DataPlane::Parameters parameters_ = DataPlane::initial;
  std::vector<std::string> links_;
  RangeSet taken_;
  sim::Input frozen_;
  int steps_ = 0;
  bool training_ = false, exhausted_ = false;
  Clock::time_point next_step_{};
  std::optional<Start> running_;
  std::map<ExchangeId, DataPlane::Parameters> results_;
  std::optional<Fetch> fetching_;
  Clock::time_point fetched_at_{};

  std::atomic<int> fetches_{0};
  std::atomic<End> end_{End::none};
  std::atomic<bool> quit_{false}, hangs_{false};
  std::thread thread_;
};

}  // namespace train::wide::test
