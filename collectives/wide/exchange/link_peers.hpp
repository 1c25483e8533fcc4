#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "collectives/wide/exchange/peers.hpp"
#include "collectives/wide/stream/link.hpp"

namespace train::wide {

/// Clusters at the other ends of links, for one exchange or several.
class LinkPeers final : public Peers {
 public:
  /// Links to all of `clusters` clusters but this one, by their place. A transfer fails when it is
  /// not done within `timeout`. Transfers have ids from `id_base` on: a link never sees one twice.
  LinkPeers(int clusters, int self, std::map<int, Link> links, std::chrono::milliseconds timeout,
            std::uint64_t id_base = 0);

  int size() const override { return clusters_; }
  int self() const override { return self_; }
  Work send(int cluster, std::uint64_t id, std::span<const std::byte> bytes,
            Priority priority) override;
  Work receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) override;

  void stop(const std::string& reason) override;

  /// The cluster whose transfer failed first, if one did.
  std::optional<int> first_failed();

  /// Of all links together.
  LinkTraffic traffic() const;

 private:
  Work keep(int cluster, Transfer transfer);
  void require_going() const;

  int clusters_;
  int self_;
  std::map<int, Link> links_;
  std::chrono::milliseconds timeout_;
  std::uint64_t id_base_;
  std::mutex mutex_;
  std::string stopped_;
  std::deque<std::pair<int, Transfer>> under_way_;  // and some that have ended; by cluster
};

}  // namespace train::wide
