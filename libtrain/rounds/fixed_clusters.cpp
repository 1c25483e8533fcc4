#include "libtrain/rounds/fixed_clusters.hpp"

#include <algorithm>
#include <charconv>
#include <mutex>

#include <fmt/format.h>

#include "libtrain/agreement.hpp"
#include "libtrain/rounds/fixed_exchange.hpp"

namespace train {
namespace {

// "host:port" with the port moved on.
std::string address_of(const ClusterAddress& cluster, int lane) {
  const std::size_t colon = cluster.address.rfind(':');
  int port = 0;
  const char* end = cluster.address.data() + cluster.address.size();
  if (colon != std::string::npos) {
    const auto parsed = std::from_chars(cluster.address.data() + colon + 1, end, port);
    if (parsed.ptr == end && port > 0 && port + lane < 65536) {
      return fmt::format("{}:{}", cluster.address.substr(0, colon), port + lane);
    }
  }
  throw Error(fmt::format("cluster {} is at \"{}\"; an address is host:port", cluster.name,
                          cluster.address));
}

int place_of(const FixedClustersOptions& options) {
  const auto found = std::ranges::find(options.clusters, options.self, &ClusterAddress::name);
  if (found == options.clusters.end()) {
    throw Error(fmt::format("cluster \"{}\" is not in the job's list of {} clusters", options.self,
                            options.clusters.size()));
  }
  return static_cast<int>(found - options.clusters.begin());
}

// What the links have to say, for the message of a failure.
struct Remarks {
  std::mutex mutex;
  std::string last;
};

}  // namespace

std::vector<ClusterAddress> clusters_from(const std::string& text) {
  std::vector<ClusterAddress> clusters;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(fmt::format("clusters \"{}\": \"{}\" is not NAME=HOST:PORT", text, part));
    }
    clusters.push_back({part.substr(0, equals), part.substr(equals + 1)});
    const auto same = std::ranges::count(clusters, clusters.back().name, &ClusterAddress::name);
    if (same > 1) {
      throw Error(fmt::format("clusters \"{}\": two are named {}", text, clusters.back().name));
    }
    begin = end + 1;
  }
  return clusters;
}

FixedClusters::FixedClusters(Communicator& world, FixedClustersOptions options)
    : options_(std::move(options)), index_(place_of(options_)) {
  if (options_.lanes < 1 || options_.lanes > world.size()) {
    throw Error(fmt::format("{} lanes for a cluster of {} ranks: a lane is a rank", options_.lanes,
                            world.size()));
  }
  // All ranks of the cluster wait for its lanes, and hear why one could not connect.
  std::string failure;
  try {
    for (int lane = 0; lane < options_.lanes; ++lane) {
      if (rank_of_lane(lane, options_.lanes, world.size()) == world.rank()) open(lane);
    }
  } catch (const Error& error) {
    failure = error.what();
  }
  const std::string said = first_said(world, failure);
  if (!said.empty()) throw Error(said);
}

FixedClusters::~FixedClusters() = default;

void FixedClusters::open(int lane) {
  const auto remarks = std::make_shared<Remarks>();
  wide::NodeOptions node;
  if (options_.certificates) {
    node.tls = wide::TlsFiles::in(*options_.certificates);
  } else {
    node.plaintext = true;
  }
  node.name = options_.self;
  node.lane = static_cast<std::uint32_t>(lane);
  node.events.on_log = [remarks](const std::string& line) {
    const std::lock_guard lock(remarks->mutex);
    remarks->last = line;
  };
  node_ = std::make_unique<wide::Node>(std::move(node));
  node_->listen(address_of(options_.clusters[static_cast<std::size_t>(index_)], lane));
  std::map<int, wide::Link> links;
  for (int i = 0; i < count(); ++i) {
    if (i == index_) continue;
    const ClusterAddress& other = options_.clusters[static_cast<std::size_t>(i)];
    wide::LinkOptions link;
    link.streams = options_.streams;
    if (i < index_) link.addresses = {address_of(other, lane)};
    links.emplace(i, node_->link({other.name, static_cast<std::uint32_t>(lane)}, link));
  }
  const Deadline deadline = Clock::now() + options_.timeout;
  for (auto& [i, link] : links) {
    if (link.wait_connected(deadline)) continue;
    const std::lock_guard lock(remarks->mutex);
    throw Error(fmt::format(
        "cluster {} at {} did not connect to cluster {} within {} s{}{}", link.peer().to_string(),
        options_.clusters[static_cast<std::size_t>(i)].address, options_.self,
        std::chrono::duration_cast<std::chrono::seconds>(options_.timeout).count(),
        remarks->last.empty() ? "" : "; last: ", remarks->last));
  }
  peers_ = std::make_unique<wide::LinkPeers>(count(), index_, std::move(links), options_.timeout);
}

Rounds::MakeExchange FixedClusters::exchanges() {
  return [this](int, std::size_t values) {
    return std::make_unique<FixedExchange>(*peers_, options_.codec, values, [this] {
      const wide::LinkTraffic traffic = peers_->traffic();
      return WideTraffic{traffic.wire_sent, traffic.wire_received};
    });
  };
}

}  // namespace train
