#include "libtrain/parallel/bucket.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace train {
namespace {

// Elements of a cache line of f32: ops run aligned on every gradient and shard.
constexpr std::int64_t line = 16;

std::int64_t padded(std::int64_t elements, std::int64_t multiple = line) {
  return (elements + multiple - 1) / multiple * multiple;
}

int shard_ranks(const BucketOptions& options) {
  return options.shard_ranks > 0 ? options.shard_ranks : options.data_ranks;
}

// Fills buckets with one list of parameters after another.
class BucketMaker {
 public:
  BucketMaker(int tensor_rank, const BucketOptions& options, std::int64_t limit)
      : tensor_rank_(tensor_rank), options_(options), limit_(limit) {}

  void add(Parameter& parameter, bool gathered) {
    const std::int64_t count = parameter.layout().local_elements(tensor_rank_);
    // What is nearly empty goes with the next parameter: a message of its own would cost a round
    // for a few bytes. So matrices as large as a bucket take the biases between them along.
    const bool nearly_empty = open_.elements == 0 || open_.elements < limit_ / 8;
    if (!nearly_empty && open_.elements + padded(count) > limit_) close();
    open_.places.push_back({&parameter, open_.elements, count});
    open_.elements += padded(count);
    open_.gathered = gathered;
  }

  void close() {
    if (open_.places.empty()) return;
    const int shards = options_.zero == Zero::stage0 ? 1 : shard_ranks(options_);
    open_.elements = padded(open_.elements, line * shards);
    open_.shard_counts.assign(static_cast<std::size_t>(shards),
                              static_cast<std::size_t>(open_.elements / shards));
    buckets_.push_back(std::move(open_));
    open_ = {};
  }

  std::vector<Bucket> take() {
    close();
    return std::move(buckets_);
  }

 private:
  int tensor_rank_;
  BucketOptions options_;
  std::int64_t limit_;  // elements of a bucket
  Bucket open_;
  std::vector<Bucket> buckets_;
};

std::int64_t bucket_limit(std::span<const ParameterGroup> groups, int tensor_rank,
                          const BucketOptions& options) {
  constexpr std::size_t default_bytes = std::size_t{25} << 20;
  const auto elements_of = [&](std::size_t bytes) {
    return static_cast<std::int64_t>(bytes / options.gradient_bytes);
  };
  if (options.bucket_bytes > 0) return elements_of(options.bucket_bytes);
  std::int64_t all = 0;
  for (const ParameterGroup& group : groups) {
    for (const Parameter* parameter : group) all += parameter->layout().local_elements(tensor_rank);
  }
  return std::max(line, std::min(elements_of(default_bytes), all / 10));
}

// The same on all ranks of the tensor group, whose local sizes may differ.
bool is_gathered(const Parameter& parameter, const BucketOptions& options) {
  return options.zero == Zero::stage3 && parameter.shape().elements() > options.resident_elements;
}

}  // namespace

std::int64_t Bucket::shard_begin(int shard) const {
  std::int64_t begin = 0;
  for (int i = 0; i < shard; ++i) begin += shard_elements(i);
  return begin;
}

std::vector<Bucket::Segment> Bucket::segments(int shard) const {
  const std::int64_t first = shard_begin(shard);
  return segments_between(first, first + shard_elements(shard));
}

std::vector<Bucket::Segment> Bucket::segments_between(std::int64_t first, std::int64_t last) const {
  std::vector<Segment> segments;
  for (const Place& place : places) {
    const std::int64_t begin = std::max(place.begin, first);
    const std::int64_t end = std::min(place.begin + place.count, last);
    if (begin >= end) continue;
    segments.push_back({place.parameter, begin - place.begin, end - place.begin, begin - first});
  }
  return segments;
}

std::vector<Layout> world_layouts(std::span<const ParameterGroup> groups,
                                  std::span<Parameter* const> parameters, int tensor_ranks,
                                  const BucketOptions& options,
                                  const std::function<bool(const Bucket&)>& sharded) {
  using BlocksByRank = std::vector<std::vector<Block>>;
  const auto ranks = static_cast<std::size_t>(options.data_ranks * tensor_ranks);
  std::unordered_map<const Parameter*, BlocksByRank> blocks;
  const auto hold = [&](int tensor_rank, int data_rank, const Bucket::Segment& segment) {
    const int rank = data_rank * tensor_ranks + tensor_rank;
    auto& of_parameter = blocks.try_emplace(segment.parameter, ranks).first->second;
    of_parameter[static_cast<std::size_t>(rank)] =
        flat_range(segment.parameter->layout().blocks(tensor_rank), segment.begin, segment.end);
  };
  for (int tensor_rank = 0; tensor_rank < tensor_ranks; ++tensor_rank) {
    for (const Bucket& bucket : make_buckets(groups, tensor_rank, options)) {
      const bool cut_up = sharded(bucket);
      for (int data_rank = 0; data_rank < options.data_ranks; ++data_rank) {
        const int shard = data_rank % shard_ranks(options);
        for (const auto& segment : cut_up ? bucket.segments(shard) : bucket.segments()) {
          hold(tensor_rank, data_rank, segment);
        }
      }
    }
  }
  std::vector<Layout> layouts;
  for (Parameter* parameter : parameters) {
    layouts.emplace_back(parameter->shape(), std::move(blocks.at(parameter)));
  }
  return layouts;
}

std::vector<Bucket> make_buckets(std::span<const ParameterGroup> groups, int tensor_rank,
                                 const BucketOptions& options) {
  std::unordered_set<const Parameter*> seen;
  std::vector<ParameterGroup> own(groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (Parameter* parameter : groups[i]) {
      if (seen.insert(parameter).second) own[i].push_back(parameter);
    }
  }
  const std::int64_t limit = bucket_limit(own, tensor_rank, options);
  BucketMaker gathered(tensor_rank, options, limit);
  BucketMaker resident(tensor_rank, options, limit);
  for (auto group = own.rbegin(); group != own.rend(); ++group) {
    for (auto it = group->rbegin(); it != group->rend(); ++it) {
      if (is_gathered(**it, options)) {
        gathered.add(**it, true);
      } else {
        resident.add(**it, false);
      }
    }
    gathered.close();
  }
  std::vector<Bucket> buckets = gathered.take();
  for (Bucket& bucket : resident.take()) buckets.push_back(std::move(bucket));
  return buckets;
}

}  // namespace train
