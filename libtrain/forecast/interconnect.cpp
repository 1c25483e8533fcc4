#include "libtrain/forecast/interconnect.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace train {

GroupCost::GroupCost(const Interconnect& interconnect, int ranks, int on_node, int groups_on_node)
    : interconnect_(interconnect),
      ranks_(ranks),
      on_node_(std::min(ranks, on_node)),
      groups_on_node_(groups_on_node) {}

// A group that does not divide the node lies on two of them somewhere.
GroupCost GroupCost::tensor(const Interconnect& interconnect, int data, int tensor) {
  const int node = std::min(interconnect.ranks_per_node, data * tensor);
  const int on_node = data * tensor == node ? tensor : std::gcd(tensor, node);
  return {interconnect, tensor, on_node, node / on_node};
}

GroupCost GroupCost::data(const Interconnect& interconnect, int data, int tensor) {
  const int node = std::min(interconnect.ranks_per_node, data * tensor);
  return {interconnect, data, std::max(1, node / tensor), std::min(node, tensor)};
}

GroupCost GroupCost::neighbours(const Interconnect& interconnect, int count, int data, int tensor) {
  const int node = std::min(interconnect.ranks_per_node, data * tensor);
  const int on_node = data * tensor == node ? count : std::gcd(count, std::max(1, node / tensor));
  return {interconnect, count, on_node, std::max(1, node / on_node)};
}

GroupCost GroupCost::replicas(const Interconnect& interconnect, int count, int data, int tensor) {
  return GroupCost::data(interconnect, data / count, count * tensor);
}

double GroupCost::reduce_scatter(double bytes, bool is_bf16) const {
  return interconnect_.rings && !is_bf16 ? ring(bytes) : direct(bytes);
}

double GroupCost::all_gather(double bytes) const {
  return interconnect_.rings ? ring(bytes) : direct(bytes);
}

double GroupCost::ring(double bytes) const {
  if (ranks_ == 1) return 0.0;
  double rate = interconnect_.node_rate;
  if (on_node_ == 1) rate = interconnect_.network_rate / groups_on_node_;
  if (crosses_nodes()) rate = std::min(rate, interconnect_.network_rate / groups_on_node_);
  const double hops = std::ceil(std::log2(ranks_));
  return hops * interconnect_.latency_s + bytes * (ranks_ - 1) / ranks_ / rate;
}

double GroupCost::direct(double bytes) const {
  if (ranks_ == 1) return 0.0;
  const double share = bytes / ranks_;  // what one rank sends to another
  double seconds = share * (on_node_ - 1) / interconnect_.node_rate;
  if (crosses_nodes()) {
    const double leaves = share * (ranks_ - on_node_) * on_node_ * groups_on_node_;
    seconds = std::max(seconds, leaves / interconnect_.network_rate);
  }
  return interconnect_.latency_s + seconds;
}

}  // namespace train
