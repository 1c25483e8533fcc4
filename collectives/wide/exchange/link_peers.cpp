#include "collectives/wide/exchange/link_peers.hpp"

#include "collectives/error.hpp"

namespace train::wide {

LinkPeers::LinkPeers(int clusters, int self, std::map<int, Link> links,
                     std::chrono::milliseconds timeout)
    : clusters_(clusters), self_(self), links_(std::move(links)), timeout_(timeout) {
  invariant(static_cast<int>(links_.size()) == clusters - 1 && !links_.contains(self),
            "there is a link to every other cluster");
}

Work LinkPeers::send(int cluster, std::uint64_t id, std::span<const std::byte> bytes) {
  return links_.at(cluster).send(id, bytes, Clock::now() + timeout_).work();
}

Work LinkPeers::receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) {
  return links_.at(cluster).receive(id, bytes, Clock::now() + timeout_).work();
}

LinkTraffic LinkPeers::traffic() const {
  LinkTraffic all;
  for (const auto& [cluster, link] : links_) {
    const LinkTraffic one = link.traffic();
    all.payload_sent += one.payload_sent;
    all.payload_received += one.payload_received;
    all.wire_sent += one.wire_sent;
    all.wire_received += one.wire_received;
  }
  return all;
}

}  // namespace train::wide
