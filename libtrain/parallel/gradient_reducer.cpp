#include "libtrain/parallel/gradient_reducer.hpp"

#include <algorithm>
#include <utility>

namespace train {
namespace {

// The gaps are summed with the gradients: their bits must be numbers, not what memory held before.
void zero_gaps(const Bucket& bucket, const Tensor& full, Ops& ops) {
  std::int64_t end = 0;
  for (const Bucket::Place& place : bucket.places) {
    if (end < place.begin) ops.fill(full.slice(end, {place.begin - end}), 0.0f);
    end = place.begin + place.count;
  }
  if (end < bucket.elements) ops.fill(full.slice(end, {bucket.elements - end}), 0.0f);
}

}  // namespace

GradientReducer::GradientReducer(const std::vector<Bucket>& buckets, Zero zero, Communicator& ranks,
                                 const Device& device, DataType type, Communicator* replicas)
    : buckets_(buckets),
      zero_(zero),
      ranks_(ranks),
      replicas_(replicas),
      device_(device),
      type_(type),
      states_(buckets.size()) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    for (const Bucket::Place& place : buckets_[i].places) places_[place.parameter] = {i};
    if (!frees()) {
      open(i, MemoryUse::gradients);
      continue;
    }
    states_[i].shard = Tensor(device_.memory(MemoryUse::gradients),
                              {buckets_[i].shard_elements(ranks_.rank())}, type_);
    for (const Bucket::Place& place : buckets_[i].places) {
      place.parameter->set_gradient_source([this, i] { open(i, MemoryUse::communication); });
    }
  }
}

GradientReducer::~GradientReducer() {
  for (const Bucket& bucket : buckets_) {
    for (const Bucket::Place& place : bucket.places) {
      place.parameter->set_gradient({});
      place.parameter->set_gradient_source({});
    }
  }
}

void GradientReducer::open(std::size_t bucket, MemoryUse use) {
  Tensor& full = states_[bucket].full;
  // Its own sum may still be on its way from the pass before. And where one layer's gradients lie
  // in two buckets, both fill at once: the one that travels has to arrive first.
  if (full.defined() || (frees() && fills(opened_last_))) retire(0);
  opened_last_ = bucket;
  full = Tensor(device_.memory(use), {buckets_[bucket].elements}, type_);
  zero_gaps(buckets_[bucket], full, device_.ops());
  for (const Bucket::Place& place : buckets_[bucket].places) {
    place.parameter->set_gradient(full.slice(place.begin, place.parameter->local_shape()));
    place.parameter->clear_gradient();
  }
}

bool GradientReducer::fills(std::size_t bucket) const {
  return states_[bucket].full.defined() &&
         std::ranges::find(under_way_, bucket) == under_way_.end();
}

void GradientReducer::begin_step(int passes) {
  invariant(passes >= 1, "a step has at least one backward pass");
  give_up();
  passes_ = passes;
  for (auto& [parameter, place] : places_) place.passes_done = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    for (const Bucket::Place& place : buckets_[i].places) place.parameter->clear_gradient();
    states_[i].ready = 0;
    states_[i].started = false;
    states_[i].passes_summed = 0;
  }
}

// Whatever of the last step is under way ends before its memory is used again, or given back. There
// is nothing behind finish().
void GradientReducer::give_up() {
  under_way_.clear();
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    State& state = states_[i];
    for (Work& sum : std::exchange(state.sums, {})) sum.wait();
    std::exchange(state.work, {}).wait();
    if (!frees() || !state.full.defined()) continue;
    state.full.reset();
    for (const Bucket::Place& place : buckets_[i].places) place.parameter->set_gradient({});
  }
}

void GradientReducer::ready(Parameter& parameter) {
  const auto found = places_.find(&parameter);
  invariant(found != places_.end(), "a ready parameter has its place in a bucket");
  Place& place = found->second;
  invariant(
      place.passes_done < passes_,
      "a step has no more backward passes than begin_step(passes) said: 1 if it was not called");
  if (++place.passes_done < passes_ && !frees()) return;
  State& state = states_[place.bucket];
  state.sums.push_back(parameter.sum_gradient());
  if (++state.ready == static_cast<int>(buckets_[place.bucket].places.size())) start(place.bucket);
}

void GradientReducer::start(std::size_t bucket) {
  State& state = states_[bucket];
  for (Work& sum : state.sums) waits_.wait(sum);
  state.sums.clear();
  state.ready = 0;
  state.started = true;
  const Buffer full = state.full.buffer();
  if (zero_ == Zero::stage0) {
    if (ranks_.size() > 1) state.work = ranks_.all_reduce(full, full, ReduceOp::sum);
    return;
  }
  const Tensor target = frees() && state.passes_summed == 0 ? state.shard : own_part(bucket);
  if (ranks_.size() > 1) {
    state.work =
        ranks_.reduce_scatter(full, target.buffer(), buckets_[bucket].shard_counts, ReduceOp::sum);
  } else if (target.raw() != state.full.raw()) {
    device_.ops().convert(state.full, target);
  }
  if (frees()) {
    for (const Bucket::Place& place : buckets_[bucket].places) place.parameter->set_gradient({});
  } else if (replicas_ == nullptr) {
    return;
  }
  under_way_.push_back(bucket);
  // One on its way while the next one fills.
  retire(1);
}

void GradientReducer::retire(std::size_t under_way) {
  while (under_way_.size() > under_way) {
    const std::size_t bucket = under_way_.front();
    under_way_.pop_front();
    waits_.wait(states_[bucket].work);
    if (frees()) take_in(bucket);
    if (replicas_ == nullptr || (frees() && states_[bucket].passes_summed < passes_)) continue;
    const Buffer sum = gradient(bucket).buffer();
    states_[bucket].work = replicas_->all_reduce(sum, sum, ReduceOp::sum);
  }
}

void GradientReducer::take_in(std::size_t bucket) {
  State& state = states_[bucket];
  if (state.passes_summed++ > 0) {
    device_.ops().add(state.shard, own_part(bucket), state.shard);
  }
  state.full.reset();
}

void GradientReducer::finish() {
  retire(0);
  for (State& state : states_) {
    const bool complete = state.started && (!frees() || state.passes_summed == passes_);
    invariant(complete && state.ready == 0,
              "every parameter took part in as many backward passes of the step as "
              "begin_step(passes) said");
    waits_.wait(state.work);
  }
}

Tensor GradientReducer::own_part(std::size_t bucket) const {
  const Bucket& plan = buckets_[bucket];
  const Tensor& full = states_[bucket].full;
  if (zero_ == Zero::stage0) return full;
  return full.slice(plan.shard_begin(ranks_.rank()), {plan.shard_elements(ranks_.rank())});
}

Tensor GradientReducer::gradient(std::size_t bucket) const {
  return frees() ? states_[bucket].shard : own_part(bucket);
}

std::size_t GradientReducer::buckets_summed() {
  return static_cast<std::size_t>(std::ranges::count_if(
      states_, [](State& state) { return state.started && state.work.done(); }));
}

}  // namespace train
