#pragma once

#include <chrono>
#include <map>

#include "collectives/wide/exchange/peers.hpp"
#include "collectives/wide/stream/link.hpp"

namespace train::wide {

/// Clusters at the other ends of links.
class LinkPeers final : public Peers {
 public:
  /// Links to all of `clusters` clusters but this one, by their place. A transfer fails when it is
  /// not done within `timeout`.
  LinkPeers(int clusters, int self, std::map<int, Link> links, std::chrono::milliseconds timeout);

  int size() const override { return clusters_; }
  int self() const override { return self_; }
  Work send(int cluster, std::uint64_t id, std::span<const std::byte> bytes) override;
  Work receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) override;

  /// Of all links together.
  LinkTraffic traffic() const;

 private:
  int clusters_;
  int self_;
  std::map<int, Link> links_;
  std::chrono::milliseconds timeout_;
};

}  // namespace train::wide
