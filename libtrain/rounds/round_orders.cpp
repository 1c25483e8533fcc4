// What the ranks of a cluster do on the first rank's orders.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "libtrain/rounds/rounds_lane.hpp"

namespace train {

std::optional<Turn> Rounds::carry_out(Order& order) {
  switch (order.kind) {
    case Order::Kind::idle:
      break;
    case Order::Kind::train:
      takes_part_ = true;
      return Turn{static_cast<std::int64_t>(order.number), std::move(order.samples)};
    case Order::Kind::end_round:
      end_round(order.number);
      break;
    case Order::Kind::run_exchange:
      run_exchange(order.start);
      break;
    case Order::Kind::stop_exchange:
      if (order.state.id == exchange_) stop_exchange();
      break;
    case Order::Kind::apply:
      apply(order.state);
      break;
    case Order::Kind::discard:
      discard(order.text);
      break;
    case Order::Kind::fetch:
      fetch(order);
      break;
    case Order::Kind::stop_fetch:
      if (lane_) lane_->links->stop_fetch();
      break;
    case Order::Kind::adopt:
      adopt(order.state);
      break;
    case Order::Kind::roster:
      use_roster(order);
      break;
    case Order::Kind::stop:
      stop(order);
      break;
    case Order::Kind::fail:
      throw Error(order.text);
    case Order::Kind::cut_off:
      // Who has had no part in the job has nothing of its own.
      if (takes_part_) throw CutOff(order.text);
      throw Error(order.text);
  }
  return std::nullopt;
}

// What the round's fragments have changed is from now on what the exchange sends, however often it
// is tried.
void Rounds::end_round(std::uint64_t round) {
  froze_ = true;
  const FragmentRange fragments = calendar_.fragments(round);
  if (lane_) {
    lane_->exchange.use(fragments);
    lane_->snapshots.clear();
  }
  // Without samples the gradients are those of an earlier step, or nobody's.
  const bool silent = !std::exchange(has_trained_, false) && steps_parameters();
  for (int i = fragments.first; i < fragments.last; ++i) {
    const std::span<float> values = lane_ ? lane_->exchange.values(i) : std::span<float>();
    if (silent) {
      std::ranges::fill(values, 0.0f);
    } else {
      freeze(i, values);
    }
  }
  if (steps_parameters() && !silent) optimizer_.begin_step();
}

void Rounds::freeze(int fragment, std::span<float> values) {
  lanes_.collect(exchanged_, fragment, values);
  if (lane_ == nullptr || steps_parameters()) return;
  if (options_.overlap_steps > 0) {
    lane_->snapshots.insert_or_assign(fragment, LaneValues(values.begin(), values.end(), &memory_));
  }
  const std::span<const float> outer = lane_->parameters(fragment);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = outer[i] - values[i];
}

void Rounds::run_exchange(const wide::Start& start) {
  takes_part_ = true;
  exchange_ = start.id;
  result_hash_.reset();
  if (lane_ == nullptr) return;
  lane_->result.reset();
  // Who came in the middle of a round only listens: its weight is zero.
  if (!froze_) {
    const FragmentRange fragments = calendar_.fragments(start.id.round);
    lane_->exchange.use(fragments);
    for (int i = fragments.first; i < fragments.last; ++i) {
      std::ranges::fill(lane_->exchange.values(i), 0.0f);
    }
  }
  lane_->exchange.start(start, job_.cluster, lane_->links->links());
}

void Rounds::prepare(const ClusterStatus& status) {
  result_norm_ = std::sqrt(status.mean_squares);
  std::uint64_t own = 0;
  if (lane_) {
    OuterOptimizer::Step step;
    step.number = static_cast<std::int64_t>(exchange_.round);
    step.lr = plan_.schedule.at(step.number - 1);
    step.mean_norm = result_norm_;
    lane_->result = std::make_shared<OuterState>();
    lane_->result->id = exchange_;
    lane_->result->fragments = lane_->state->fragments;
    const FragmentRange fragments = calendar_.fragments(exchange_.round);
    for (int i = fragments.first; i < fragments.last; ++i) {
      auto& fragment = lane_->result->fragments[static_cast<std::size_t>(i)];
      LaneValues next(fragment->values().size(), &memory_);
      lane_->outer->step(fragment->values(), lane_->exchange.mean(i), step, next);
      fragment = std::make_shared<OuterFragment>(std::move(next));
    }
    own = lane_->result->hash();
  }
  result_hash_ = combined_hash(own);
}

void Rounds::stop_exchange() {
  result_hash_.reset();
  if (lane_ == nullptr) return;
  lane_->result.reset();
  lane_->exchange.stop("the attempt was called off");
}

void Rounds::apply(const wide::StateInfo& state) {
  state_ = state;
  mean_norm_ = result_norm_;
  result_hash_.reset();
  std::uint64_t own = 0;
  if (lane_) {
    invariant(lane_->result != nullptr && lane_->result->id == state.id,
              "only what was agreed on is applied");
    lane_->exchange.commit();
    lane_->state = std::move(lane_->result);
    lane_->links->serve(lane_->state);
    own = lane_->state->hash();
  }
  const FragmentRange fragments = calendar_.fragments(state.id.round);
  const bool ran_ahead = options_.overlap_steps > 0 && froze_;
  for (int i = fragments.first; i < fragments.last; ++i) {
    ran_ahead ? keep_ahead(i) : spread_outer(i);
  }
  optimizer_.publish_full_precision();
  froze_ = false;
  state_.hash = combined_hash(own);
  if (leader_) leader_->conductor->applied(state, state_.hash);
}

// What was trained since the exchange took its values stays on top of what it made.
void Rounds::keep_ahead(int fragment) {
  LaneValues now(lanes_.count(fragment), &memory_);
  lanes_.collect(parameters_, fragment, now);
  if (lane_) {
    const std::span<const float> outer = lane_->parameters(fragment);
    const auto then = lane_->snapshots.extract(fragment);
    for (std::size_t i = 0; i < now.size(); ++i) now[i] = outer[i] + (now[i] - then.mapped()[i]);
  }
  lanes_.spread(now, fragment, parameters_);
}

void Rounds::spread_outer(int fragment) {
  lanes_.spread(lane_ ? lane_->parameters(fragment) : std::span<const float>(), fragment,
                parameters_);
}

void Rounds::discard(const std::string& reason) {
  log(fmt::format("cluster {} goes back to {}: {}", job_.cluster, wide::to_string(state_.id),
                  reason));
  froze_ = has_trained_ = false;
  result_hash_.reset();
  if (lane_) {
    lane_->result.reset();
    lane_->exchange.forget();
  }
  if (steps_parameters()) optimizer_.begin_step();
  spread_outer();
}

void Rounds::spread_outer() {
  for (int i = 0; i < fragments_.count(); ++i) spread_outer(i);
  optimizer_.publish_full_precision();
}

void Rounds::fetch(const Order& order) {
  if (job_.insists && !takes_part_) {
    throw Error(fmt::format(
        "cluster {} was to go on from the state of {} (--resume-from), but the job is at {}: a job "
        "goes back as a whole. End all of its clusters, and start each from that checkpoint or "
        "from "
        "none, with a coordinator that has a new --journal; or leave --resume-from out",
        job_.cluster, wide::to_string(state_.id), wide::to_string(order.state.id)));
  }
  log(fmt::format("cluster {} fetches the state of {} from {}", job_.cluster,
                  wide::to_string(order.state.id), order.text));
  if (lane_) lane_->links->fetch(order.text, order.state.id, lane_->state->sizes());
}

void Rounds::adopt(const wide::StateInfo& state) {
  OuterStateVersion fetched = lane_ ? lane_->links->take_fetched() : nullptr;
  const std::uint64_t hash = combined_hash(fetched ? fetched->hash() : 0);
  if (hash == state.hash) {
    state_ = state;
    froze_ = has_trained_ = false;
    if (lane_) {
      lane_->exchange.reset();
      lane_->state = std::move(fetched);
      lane_->links->serve(lane_->state);
    }
    spread_outer();
  } else {
    log(fmt::format("what cluster {} fetched has hash {:016x}, the state of {} has {:016x}",
                    job_.cluster, hash, wide::to_string(state.id), state.hash));
  }
  if (leader_) leader_->conductor->adopted(state, hash);
}

void Rounds::use_roster(const Order& order) {
  epoch_ = order.number;
  clusters_ = std::ranges::count_if(order.peers, [](const auto& peer) { return peer.since != 0; });
  if (lane_) lane_->links->use(order.peers);
}

void Rounds::stop(const Order& order) {
  end_ = static_cast<JobEnd>(order.number);
  ending_ = order.text;
}

}  // namespace train
