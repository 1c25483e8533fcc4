#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"
#include "collectives/wide/codec/codec.hpp"
#include "collectives/wide/exchange/link_peers.hpp"
#include "collectives/wide/stream/node.hpp"
#include "libtrain/rounds/rounds.hpp"

namespace train {

/// A cluster of a job, and where its first lane is reached: "host:port". Lane l has port + l.
struct ClusterAddress {
  std::string name;
  std::string address;
};

/// "a=10.0.0.1:7700,b=10.0.1.1:7700"; throws Error otherwise.
std::vector<ClusterAddress> clusters_from(const std::string& text);

struct FixedClustersOptions {
  std::vector<ClusterAddress> clusters;  ///< the same list, in the same order, everywhere
  std::string self;                      ///< this cluster's name in it
  int lanes = 1;
  wide::Codec codec = wide::Codec::int8;
  /// The directory with this cluster's certificate (`launch/trainctl certs`). Unset: no encryption,
  /// which works on loopback addresses only.
  std::optional<std::filesystem::path> certificates = std::nullopt;
  std::optional<int> streams = std::nullopt;  ///< of a link; unset: by measurement
  /// For the others to come, and for each transfer.
  std::chrono::milliseconds timeout{std::chrono::minutes(10)};
};

/// A job of clusters that stay: each listens, and dials those before it in the list. Who is lost,
/// or does not come in time, ends the job.
class FixedClusters {
 public:
  /// Collective over `world`: the ranks that carry lanes open their links and wait until all are
  /// up. Throws Error that names who is missing.
  FixedClusters(Communicator& world, FixedClustersOptions options);
  ~FixedClusters();

  int count() const { return static_cast<int>(options_.clusters.size()); }
  /// This cluster's place in the list.
  int index() const { return index_; }

  /// What Rounds takes to make its exchanges; must outlive them.
  Rounds::MakeExchange exchanges();

 private:
  void open(int lane);

  FixedClustersOptions options_;
  int index_ = 0;
  std::unique_ptr<wide::Node> node_;
  std::unique_ptr<wide::LinkPeers> peers_;
};

}  // namespace train
