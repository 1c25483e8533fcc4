#include "libtrain/rounds/fixed_exchange.hpp"

namespace train {

FixedExchange::FixedExchange(wide::Peers& peers, wide::Codec codec, std::size_t count,
                             std::function<WideTraffic()> traffic)
    : peers_(peers), feedback_(codec, count), traffic_of_(std::move(traffic)) {}

void FixedExchange::mean(std::span<const float> values, std::uint64_t tokens,
                         std::span<float> result) {
  wide::ExchangePlan plan;
  plan.weights = share_tokens(tokens);
  const std::vector<std::uint64_t> even(plan.weights.size(), 1);
  plan.owned = wide::owned_by_speed(values.size(), even);
  plan.first_id = next_id_;
  next_id_ += wide::ids_needed(plan);
  wide::exchange(peers_, plan, feedback_, values, result);
  feedback_.commit();
}

std::vector<std::uint64_t> FixedExchange::share_tokens(std::uint64_t own) {
  const std::uint64_t id = next_id_++;
  std::vector<std::uint64_t> tokens(static_cast<std::size_t>(peers_.size()), own);
  std::vector<Work> works;
  for (int cluster = 0; cluster < peers_.size(); ++cluster) {
    if (cluster == peers_.self()) continue;
    auto& place = tokens[static_cast<std::size_t>(cluster)];
    works.push_back(peers_.receive(cluster, id, std::as_writable_bytes(std::span(&place, 1))));
    works.push_back(peers_.send(cluster, id, std::as_bytes(std::span(&own, 1))));
  }
  for (Work& work : works) work.wait();
  return tokens;
}

}  // namespace train
