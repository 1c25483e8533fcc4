#include "libtrain/forecast/bucket_schedule.hpp"

#include <algorithm>

namespace train {
namespace {

double at(const std::vector<double>& seconds, std::size_t i) {
  return i < seconds.size() ? seconds[i] : 0.0;
}

bool uses(const ModelUnit& unit, const Parameter* parameter) {
  return std::ranges::find(unit.parameters, parameter) != unit.parameters.end();
}

}  // namespace

BucketSchedule::BucketSchedule(const ModelOutline& outline, const std::vector<Bucket>& buckets,
                               const TrainingShape& shape, const StepTimes& times)
    : shape_(shape),
      times_(times),
      buckets_(buckets),
      units_(outline.model().units()),
      gathered_(units_.size()),
      states_(buckets.size()) {
  for (const Layer& layer : outline.model().layers()) layers_.push_back(&layer);
  // Layers run unit by unit.
  for (std::size_t unit = 0, layer = 0; unit < units_.size(); ++unit) {
    first_layer_.push_back(layer);
    while (layer < layers_.size() && uses(units_[unit], layers_[layer]->weight)) ++layer;
  }
  first_layer_.push_back(layers_.size());
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    for (const Bucket::Place& place : buckets[i].places) bucket_of_[place.parameter] = i;
    for (std::size_t unit = 0; buckets[i].gathered && unit < units_.size(); ++unit) {
      const bool needed = std::ranges::any_of(buckets[i].places, [&](const Bucket::Place& place) {
        return uses(units_[unit], place.parameter);
      });
      if (needed) gathered_[unit].push_back(i);
    }
  }
  // All passes but the first and the last are alike.
  const int passes = std::min(shape.passes, 3);
  for (int i = 0; i < passes; ++i) {
    const double begin = now_, waited = waited_;
    pass(i + 1 == passes);
    if (i != 1 || passes < 3) continue;
    skipped_s_ = (shape.passes - passes) * (now_ - begin);
    skipped_waited_s_ = (shape.passes - passes) * (waited_ - waited);
  }
  finish();
}

void BucketSchedule::pass(bool last) {
  last_pass_ = last;
  for (std::size_t unit = 0; unit < units_.size(); ++unit) forward(unit);
  for (std::size_t unit = units_.size(); unit-- > 0;) backward(unit);
}

void BucketSchedule::forward(std::size_t unit) {
  require(unit);
  const bool head = unit + 1 == units_.size();
  if (head) {
    fetch_before(unit);
    open(layers_.back()->weight);  // the loss writes its gradient
  } else {
    fetch(unit + 1);
  }
  now_ += at(times_.forward, unit);
  release(unit);
}

void BucketSchedule::backward(std::size_t unit) {
  if (units_[unit].backward_reads_values) {
    require(unit);
    fetch_before(unit);
  }
  now_ += at(times_.again, unit);
  for (std::size_t i = first_layer_[unit + 1]; i-- > first_layer_[unit];) layer_backward(i);
  if (units_[unit].backward_reads_values) release(unit);
}

// The head's gradient is written in the forward pass; where its matrix is the embedding's, too, it
// is not complete before that is.
void BucketSchedule::layer_backward(std::size_t layer) {
  const Layer& one = *layers_[layer];
  now_ += at(times_.backward, layer);
  if (one.kind == LayerKind::head && one.weight == layers_.front()->weight) return;
  for (const Parameter* parameter : {one.weight, one.bias}) open(parameter);
  for (const Parameter* parameter : {one.weight, one.bias}) {
    if (parameter != nullptr) ready(parameter);
  }
}

void BucketSchedule::open(const Parameter* parameter) {
  if (parameter == nullptr || !frees()) return;
  const std::size_t bucket = bucket_of_.at(parameter);
  State& state = states_[bucket];
  if (state.gradients && fills(bucket)) return;  // its other parameters have opened it
  if (state.gradients || fills(opened_last_)) retire(0);
  opened_last_ = bucket;
  state.gradients = true;
  hold(buckets_[bucket].elements * shape_.gradient());
}

bool BucketSchedule::fills(std::size_t bucket) const {
  return states_[bucket].gradients && std::ranges::find(under_way_, bucket) == under_way_.end();
}

void BucketSchedule::ready(const Parameter* parameter) {
  if (!last_pass_ && !frees()) return;
  const std::size_t bucket = bucket_of_.at(parameter);
  if (++states_[bucket].ready == buckets_[bucket].places.size()) start(bucket);
}

void BucketSchedule::start(std::size_t bucket) {
  states_[bucket].ready = 0;
  states_[bucket].sum_arrives = exchange(times_.reduce, bucket);
  if (!frees() && shape_.replicas() == 1) return;
  under_way_.push_back(bucket);
  retire(1);
}

void BucketSchedule::retire(std::size_t under_way) {
  while (under_way_.size() > under_way) {
    const std::size_t bucket = under_way_.front();
    under_way_.pop_front();
    State& state = states_[bucket];
    wait_until(state.sum_arrives);
    if (last_pass_ && shape_.replicas() > 1) {
      copies_free_ = std::max(copies_free_, now_) + at(times_.copies, bucket);
      state.sum_arrives = copies_free_;
    }
    if (!frees()) continue;
    state.gradients = false;
    hold(-buckets_[bucket].elements * shape_.gradient());
  }
}

void BucketSchedule::finish() {
  retire(0);
  for (const State& state : states_) wait_until(state.sum_arrives);
  now_ += times_.norm;
  double published = now_;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    now_ += at(times_.update, i);
    if (shape_.optimizer.zero == Zero::stage0 || buckets_[i].gathered) continue;
    published = exchange(times_.gather, i);
  }
  wait_until(published);
}

void BucketSchedule::fetch(std::size_t unit) {
  for (const std::size_t bucket : gathered_[unit]) {
    State& state = states_[bucket];
    if (state.values) continue;
    state.values = true;
    state.values_arrive = exchange(times_.gather, bucket);
    hold(buckets_[bucket].elements * shape_.element());
  }
}

void BucketSchedule::fetch_before(std::size_t unit) {
  while (unit-- > 0) {
    if (!units_[unit].backward_reads_values || gathered_[unit].empty()) continue;
    return fetch(unit);
  }
}

void BucketSchedule::require(std::size_t unit) {
  fetch(unit);
  for (const std::size_t bucket : gathered_[unit]) wait_until(states_[bucket].values_arrive);
}

void BucketSchedule::release(std::size_t unit) {
  for (const std::size_t bucket : gathered_[unit]) {
    if (!states_[bucket].values) continue;
    states_[bucket].values = false;
    hold(-buckets_[bucket].elements * shape_.element());
  }
}

// When a collective that is called now ends.
double BucketSchedule::exchange(const std::vector<double>& seconds, std::size_t bucket) {
  channel_free_ = std::max(channel_free_, now_) + at(seconds, bucket);
  return channel_free_;
}

void BucketSchedule::wait_until(double time) {
  if (time <= now_) return;
  waited_ += time - now_;
  now_ = time;
}

void BucketSchedule::hold(std::int64_t bytes) {
  bytes_ += bytes;
  bytes_peak_ = std::max(bytes_peak_, bytes_);
}

}  // namespace train
