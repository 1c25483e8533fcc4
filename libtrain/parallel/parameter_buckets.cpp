#include "libtrain/parallel/parameter_buckets.hpp"

namespace train {

ParameterBuckets::ParameterBuckets(const std::vector<Bucket>& buckets, Communicator& shard,
                                   const Device& device)
    : buckets_(buckets), shard_(shard), device_(device), states_(buckets.size()) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) place(i);
}

void ParameterBuckets::place(std::size_t bucket) {
  const Bucket& plan = buckets_[bucket];
  State& state = states_[bucket];
  const auto use = plan.gathered ? MemoryUse::communication : MemoryUse::parameters;
  const DataType type = plan.places.front().parameter->type();
  state.full = Tensor(device_.memory(use), {plan.elements}, type);
  device_.ops().fill(state.full, 0.0f);  // gaps travel too
  for (const Bucket::Place& place : plan.places) {
    place.parameter->move_value(state.full.slice(place.begin, place.parameter->local_shape()));
  }
  if (!plan.gathered) return;
  const Tensor own = own_part(bucket);
  state.shard = Tensor(device_.memory(MemoryUse::parameters), own.shape(), type);
  device_.ops().convert(own, state.shard);
  state.here = true;
  release(bucket);
}

Tensor ParameterBuckets::own_part(std::size_t bucket) const {
  const Bucket& plan = buckets_[bucket];
  const Tensor& full = states_[bucket].full;
  if (plan.shard_counts.size() == 1) return full;
  return full.slice(plan.shard_begin(shard_.rank()), {plan.shard_elements(shard_.rank())});
}

Tensor ParameterBuckets::shard(std::size_t bucket) const {
  return buckets_[bucket].gathered ? states_[bucket].shard : own_part(bucket);
}

void ParameterBuckets::publish(std::size_t bucket) {
  const Bucket& plan = buckets_[bucket];
  if (plan.gathered || plan.shard_counts.size() == 1) return;
  states_[bucket].work = shard_.all_gather(own_part(bucket).buffer(), states_[bucket].full.buffer(),
                                           plan.shard_counts);
}

void ParameterBuckets::finish_publishing() {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    if (!buckets_[i].gathered) waits_.wait(states_[i].work);
  }
}

void ParameterBuckets::fetch(std::size_t bucket) {
  const Bucket& plan = buckets_[bucket];
  State& state = states_[bucket];
  if (!plan.gathered || state.full.defined()) return;
  state.full =
      Tensor(device_.memory(MemoryUse::communication), {plan.elements}, state.shard.type());
  if (shard_.size() == 1) {
    device_.ops().convert(state.shard, state.full);
    return;
  }
  state.work = shard_.all_gather(state.shard.buffer(), state.full.buffer(), plan.shard_counts);
}

void ParameterBuckets::require(std::size_t bucket) {
  fetch(bucket);
  State& state = states_[bucket];
  if (!buckets_[bucket].gathered || state.here) return;
  waits_.wait(state.work);
  for (const Bucket::Place& place : buckets_[bucket].places) {
    place.parameter->set_value(state.full.slice(place.begin, place.parameter->local_shape()));
  }
  state.here = true;
}

void ParameterBuckets::release_all() {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    if (!buckets_[i].gathered || !states_[i].full.defined()) continue;
    require(i);
    release(i);
  }
}

void ParameterBuckets::release(std::size_t bucket) {
  State& state = states_[bucket];
  if (!buckets_[bucket].gathered || !state.here) return;
  for (const Bucket::Place& place : buckets_[bucket].places) place.parameter->release_value();
  state.full.reset();
  state.here = false;
}

}  // namespace train
