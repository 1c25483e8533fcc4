#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/rounds/lane_exchange.hpp"
#include "libtrain/rounds/lane_links.hpp"

namespace train {

/// What one rank has to say; a rank without a lane, next to nothing.
struct RankStatus {
  bool has_lane = false;
  LaneExchange::Outcome exchange;
  LaneLinks::FetchStage fetch = LaneLinks::FetchStage::none;
  std::vector<wide::LinkInfo> links;
  double mean_squares = 0.0;  ///< of an exchange that is done
  WideTraffic traffic;
  std::uint64_t bandwidth_kbit = 0;  ///< of its lane; 0: not known
  bool leaves = false;               ///< was told to end
  std::string replaced;              ///< not empty: by a later process of this cluster
};

/// What all ranks together have to say: the same on each.
struct ClusterStatus {
  LaneExchange::Outcome exchange;  ///< done when all lanes are, failed when one has
  LaneLinks::FetchStage fetch = LaneLinks::FetchStage::none;
  std::vector<wide::LinkInfo> links;  ///< to clusters that all lanes have links with; the longest
                                      ///< round trip
  double mean_squares = 0.0;          ///< over lanes, in the order of ranks
  WideTraffic traffic;
  std::uint64_t bandwidth_kbit = 0;  ///< of all lanes; 0 unless all know theirs
  bool leaves = false;
  std::string replaced;
};

/// Collective over the cluster.
ClusterStatus gather_status(Communicator& cluster, const RankStatus& own);

}  // namespace train
