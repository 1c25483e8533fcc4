#pragma once

#include <functional>

#include "collectives/wide/exchange/exchange.hpp"
#include "libtrain/rounds/lane_exchange.hpp"

namespace train {

/// Exchanges among clusters that stay: the first failure ends the job.
class FixedExchange final : public LaneExchange {
 public:
  /// `count` values in the lane; `peers` must outlive the exchange.
  /// `traffic` says what the peers' links have carried.
  FixedExchange(wide::Peers& peers, wide::Codec codec, std::size_t count,
                std::function<WideTraffic()> traffic);

  void mean(std::span<const float> values, std::uint64_t tokens, std::span<float> result) override;
  WideTraffic traffic() const override { return traffic_of_(); }

 private:
  std::vector<std::uint64_t> share_tokens(std::uint64_t own);

  wide::Peers& peers_;
  wide::ErrorFeedback feedback_;
  std::function<WideTraffic()> traffic_of_;
  std::uint64_t next_id_ = 0;
};

}  // namespace train
