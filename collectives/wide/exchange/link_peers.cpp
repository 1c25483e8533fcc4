#include "collectives/wide/exchange/link_peers.hpp"

#include "collectives/error.hpp"

namespace train::wide {
namespace {

enum class Outcome { none, done, failed };

Outcome outcome_of(Transfer& transfer) {
  try {
    return transfer.done() ? Outcome::done : Outcome::none;
  } catch (const Error&) {
    return Outcome::failed;
  }
}

}  // namespace

LinkPeers::LinkPeers(int clusters, int self, std::map<int, Link> links,
                     std::chrono::milliseconds timeout, std::uint64_t id_base)
    : clusters_(clusters),
      self_(self),
      links_(std::move(links)),
      timeout_(timeout),
      id_base_(id_base) {
  invariant(static_cast<int>(links_.size()) == clusters - 1 && !links_.contains(self),
            "there is a link to every other cluster");
}

Work LinkPeers::send(int cluster, std::uint64_t id, std::span<const std::byte> bytes,
                     Priority priority) {
  const std::lock_guard lock(mutex_);
  require_going();
  return keep(cluster, links_.at(cluster).send(id_base_ + id, bytes, Clock::now() + timeout_,
                                               {.is_urgent = priority == Priority::high}));
}

Work LinkPeers::receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  require_going();
  return keep(cluster, links_.at(cluster).receive(id_base_ + id, bytes, Clock::now() + timeout_));
}

void LinkPeers::require_going() const {
  if (!stopped_.empty()) throw Error("the exchange was called off: " + stopped_);
}

Work LinkPeers::keep(int cluster, Transfer transfer) {
  while (!under_way_.empty() && outcome_of(under_way_.front().second) == Outcome::done) {
    under_way_.pop_front();
  }
  under_way_.emplace_back(cluster, transfer);
  return transfer.work();
}

std::optional<int> LinkPeers::first_failed() {
  const std::lock_guard lock(mutex_);
  for (auto& [cluster, transfer] : under_way_) {
    if (outcome_of(transfer) == Outcome::failed) return cluster;
  }
  return std::nullopt;
}

void LinkPeers::stop(const std::string& reason) {
  std::deque<std::pair<int, Transfer>> transfers;
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_.empty()) return;
    stopped_ = reason;
    transfers.swap(under_way_);
  }
  for (auto& [cluster, transfer] : transfers) transfer.cancel();
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
