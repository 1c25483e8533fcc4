#include "libtrain/parallel/gradient_reducer.hpp"

#include <algorithm>
#include <vector>

namespace train {
namespace {

// Gradients begin on cache lines, so that the ops that write them run aligned.
std::int64_t padded(std::int64_t elements, DataType type) {
  const auto line = static_cast<std::int64_t>(64 / size_of(type));
  return (elements + line - 1) / line * line;
}

void zero(const Tensor& tensor) {
  const std::vector<std::byte> zeros(tensor.bytes());
  tensor.copy_from_host(zeros);
}

}  // namespace

GradientReducer::GradientReducer(const std::vector<std::unique_ptr<Parameter>>& parameters,
                                 Communicator& data, Memory& memory, DataType type,
                                 std::size_t bucket_bytes)
    : data_(data) {
  place_parameters(parameters, memory, type, bucket_bytes);
}

GradientReducer::~GradientReducer() {
  for (const Place& place : places_) place.parameter->set_gradient({});
}

void GradientReducer::place_parameters(const std::vector<std::unique_ptr<Parameter>>& parameters,
                                       Memory& memory, DataType type, std::size_t bucket_bytes) {
  std::int64_t elements = 0;
  std::size_t first = 0;
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it) {
    const std::int64_t count = padded((*it)->shape().elements(), type);
    const auto bytes_with = static_cast<std::size_t>(elements + count) * size_of(type);
    if (elements > 0 && bytes_with > bucket_bytes) {
      fill_bucket(first, places_.size(), elements, memory, type);
      first = places_.size();
      elements = 0;
    }
    places_.push_back({it->get(), 0, 0});
    elements += count;
  }
  fill_bucket(first, places_.size(), elements, memory, type);
}

void GradientReducer::fill_bucket(std::size_t first, std::size_t end, std::int64_t elements,
                                  Memory& memory, DataType type) {
  if (first == end) return;
  Bucket bucket;
  bucket.gradients = Tensor(memory, {elements}, type);
  bucket.parameters = static_cast<int>(end - first);
  zero(bucket.gradients);  // the padding between gradients is summed too and must stay finite
  std::int64_t begin = 0;
  for (std::size_t i = first; i < end; ++i) {
    Parameter& parameter = *places_[i].parameter;
    parameter.set_gradient(bucket.gradients.slice(begin, parameter.shape()));
    begin += padded(parameter.shape().elements(), type);
    places_[i].bucket = buckets_.size();
  }
  buckets_.push_back(std::move(bucket));
}

void GradientReducer::begin_step(int passes) {
  invariant(passes >= 1, "a step has at least one backward pass");
  passes_ = passes;
  for (Place& place : places_) {
    place.parameter->clear_gradient();
    place.passes_done = 0;
  }
  for (Bucket& bucket : buckets_) {
    bucket.ready = 0;
    bucket.started = false;
  }
}

void GradientReducer::ready(const Parameter& parameter) {
  const auto place = std::ranges::find(places_, &parameter, &Place::parameter);
  invariant(place != places_.end(), "a ready parameter has its place in a bucket");
  if (++place->passes_done < passes_) return;
  Bucket& bucket = buckets_[place->bucket];
  if (++bucket.ready == bucket.parameters) start(bucket);
}

void GradientReducer::start(Bucket& bucket) {
  bucket.started = true;
  if (data_.size() == 1) return;
  const Buffer buffer = bucket.gradients.buffer();
  bucket.work = data_.all_reduce(buffer, buffer, ReduceOp::sum);
}

void GradientReducer::finish() {
  const auto before = Clock::now();
  for (Bucket& bucket : buckets_) {
    invariant(bucket.started, "every parameter took part in every backward pass of the step");
    bucket.work.wait();
    bucket.work = Work();
  }
  seconds_waited_ += std::chrono::duration<double>(Clock::now() - before).count();
}

std::size_t GradientReducer::buckets_summed() {
  return static_cast<std::size_t>(std::ranges::count_if(
      buckets_, [](Bucket& bucket) { return bucket.started && bucket.work.done(); }));
}

std::size_t GradientReducer::gradient_bytes() const {
  std::size_t bytes = 0;
  for (const Bucket& bucket : buckets_) bytes += bucket.gradients.bytes();
  return bytes;
}

}  // namespace train
