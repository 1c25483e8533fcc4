#include "libtrain/rounds/rounds.hpp"

#include <array>

#include <fmt/format.h>
#include <xxhash.h>

namespace train {
namespace {

RoundOptions checked(RoundOptions options) {
  if (options.inner_steps < 1) {
    throw Error(fmt::format("--inner-steps is {}; it must be at least 1", options.inner_steps));
  }
  return options;
}

}  // namespace

Rounds::Rounds(const Grid& grid, ShardedOptimizer& optimizer, RoundOptions options,
               const MakeExchange& make_exchange)
    : grid_(grid),
      optimizer_(optimizer),
      options_(checked(options)),
      exchanged_(options_.synchronisation == Synchronisation::rounds ? optimizer.full_precision()
                                                                     : optimizer.gradients()),
      lanes_(grid, exchanged_, options_.lanes),
      outer_(options_.outer,
             options_.synchronisation == Synchronisation::rounds ? lanes_.count() : 0),
      values_(lanes_.count()),
      mean_(lanes_.count()) {
  if (lanes_.lane() >= 0) exchange_ = make_exchange(lanes_.lane(), lanes_.count());
  if (options_.synchronisation == Synchronisation::rounds) {
    lanes_.collect(exchanged_, outer_.parameters());
  } else {
    optimizer_.on_gradients([this] { exchange_gradients(); });
  }
}

Rounds::~Rounds() {
  optimizer_.on_gradients({});
}

bool Rounds::step(std::uint64_t tokens) {
  if (options_.synchronisation == Synchronisation::every_step) {
    ++rounds_done_;
    return true;
  }
  tokens_ += tokens;
  if (++inner_steps_done_ < options_.inner_steps) return false;
  exchange_parameters();
  inner_steps_done_ = 0;
  tokens_ = 0;
  ++rounds_done_;
  return true;
}

void Rounds::exchange_parameters() {
  lanes_.collect(exchanged_, values_);
  if (exchange_ != nullptr) {
    outer_.difference(values_, values_);
    exchange_lane(tokens_);
    outer_.step(mean_);
  }
  lanes_.spread(outer_.parameters(), exchanged_);
  optimizer_.publish_full_precision();
  add_up_traffic();
}

void Rounds::exchange_lane(std::uint64_t tokens) {
  const auto begin = Clock::now();
  exchange_->mean(values_, tokens, mean_);
  seconds_waited_ += std::chrono::duration<double>(Clock::now() - begin).count();
}

void Rounds::add_up_traffic() {
  const WideTraffic own = exchange_ == nullptr ? WideTraffic{} : exchange_->traffic();
  std::array<std::int64_t, 2> sums{static_cast<std::int64_t>(own.bytes_sent),
                                   static_cast<std::int64_t>(own.bytes_received)};
  if (grid_.world().size() > 1) {
    grid_.world().all_reduce(std::span(sums), std::span(sums), ReduceOp::sum).wait();
  }
  traffic_ = {static_cast<std::uint64_t>(sums[0]), static_cast<std::uint64_t>(sums[1])};
}

void Rounds::exchange_gradients() {
  lanes_.collect(exchanged_, values_);
  // Clusters of equal batches count alike.
  if (exchange_ != nullptr) exchange_lane(1);
  lanes_.spread(mean_, exchanged_);
  add_up_traffic();
}

std::uint64_t Rounds::hash() const {
  std::uint64_t own = lanes_.lane() < 0 ? 0 : outer_.hash();
  std::vector<std::uint64_t> all(static_cast<std::size_t>(grid_.world().size()));
  const std::vector<std::size_t> counts(all.size(), sizeof own);
  grid_.world()
      .all_gather({&own, sizeof own, DataType::u8},
                  {all.data(), sizeof own * all.size(), DataType::u8}, counts)
      .wait();
  // In the lanes' order, whatever rank carries them.
  std::vector<std::uint64_t> of_lanes;
  for (int lane = 0; lane < lanes_.layout().lanes(); ++lane) {
    of_lanes.push_back(all[static_cast<std::size_t>(lanes_.layout().rank_of(lane))]);
  }
  return XXH3_64bits(of_lanes.data(), of_lanes.size() * sizeof own);
}

}  // namespace train
