#pragma once

#include "collectives/communicator.hpp"
#include "collectives/wide/exchange/peers.hpp"

/// Clusters that are the ranks of a group, in place of links between clusters.
class GroupPeers final : public train::wide::Peers {
 public:
  explicit GroupPeers(train::Communicator& group) : group_(group) {}

  int size() const override { return group_.size(); }
  int self() const override { return group_.rank(); }
  train::Work send(int cluster, std::uint64_t id, std::span<const std::byte> bytes,
                   Priority /*all come in order*/) override {
    return group_.send({bytes.data(), bytes.size(), train::DataType::u8}, cluster, tag_of(id));
  }
  train::Work receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) override {
    return group_.receive({bytes.data(), bytes.size(), train::DataType::u8}, cluster, tag_of(id));
  }
  /// Its works end by the group's deadline.
  void stop(const std::string& /*reason*/) override {}

 private:
  static int tag_of(std::uint64_t id) { return static_cast<int>(id % (1u << 29)); }

  train::Communicator& group_;
};
