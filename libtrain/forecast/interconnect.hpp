#pragma once

#include <cstdint>

namespace train {

/// What ranks talk over.
struct Interconnect {
  int ranks_per_node = 1;
  double node_rate = 0.0;     ///< bytes per second that a rank sends to others of its node
  double network_rate = 0.0;  ///< that a node sends to others: its ranks share it
  double latency_s = 0.0;     ///< of a message between ranks
  /// Exchanges of GPUs go round rings, which cross the network once per node; those of MPI, and
  /// sums of bf16 between GPUs, from every rank to every other.
  bool rings = false;
};

/// One group of a grid's ranks, and how long its collectives take: all groups of its kind exchange
/// at the same time, and the slowest part of the way counts.
class GroupCost {
 public:
  /// The ranks of a grid lie node by node, tensor neighbours first.
  static GroupCost data(const Interconnect& interconnect, int data, int tensor);
  static GroupCost tensor(const Interconnect& interconnect, int data, int tensor);
  /// So many neighbours of a data group: a context or a shard group.
  static GroupCost neighbours(const Interconnect& interconnect, int count, int data, int tensor);
  /// The ranks of a data group that have the same place among so many neighbours.
  static GroupCost replicas(const Interconnect& interconnect, int count, int data, int tensor);

  /// Seconds for S bytes in all: what a rank puts into a sum, or has of a gathered whole.
  double reduce_scatter(double bytes, bool is_bf16) const;
  double all_gather(double bytes) const;
  double all_reduce(double bytes, bool is_bf16) const {
    return reduce_scatter(bytes, is_bf16) + all_gather(bytes);
  }
  /// What a rank has for the others and itself.
  double all_to_all(double bytes) const { return direct(bytes); }
  bool crosses_nodes() const { return ranks_ > on_node_; }

 private:
  GroupCost(const Interconnect& interconnect, int ranks, int on_node, int groups_on_node);
  double ring(double bytes) const;
  double direct(double bytes) const;

  Interconnect interconnect_;
  int ranks_;
  int on_node_;         // of these, those that share a node: of the node that has fewest
  int groups_on_node_;  // that share its network
};

}  // namespace train
