#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "libtrain/autograd/parameter.hpp"
#include "libtrain/parallel/zero.hpp"

namespace train {

/// Parameters that communicate together: neighbours in flat memory, which the shard group's ranks
/// cut into shards of equal size, as NCCL's reduce-scatter and all-gather want them. Parameters
/// begin and shards end at cache lines; what lies between and behind parameters means nothing.
struct Bucket {
  struct Place {
    Parameter* parameter;
    std::int64_t begin;  ///< its first element in the flat memory
    std::int64_t count;
  };
  /// A part of one parameter within one shard.
  struct Segment {
    Parameter* parameter;
    std::int64_t begin, end;  ///< in the parameter's own memory
    std::int64_t in_shard;    ///< where it begins in the shard
  };

  std::vector<Place> places;
  std::int64_t elements = 0;
  std::vector<std::size_t> shard_counts;  ///< by shard; they add up to `elements`
  bool gathered = false;                  ///< stage 3: values are here only while they are used

  std::int64_t shard_begin(int shard) const;
  std::int64_t shard_elements(int shard) const {
    return static_cast<std::int64_t>(shard_counts.at(static_cast<std::size_t>(shard)));
  }
  std::vector<Segment> segments(int shard) const;
  /// The same for everything.
  std::vector<Segment> segments() const { return segments_between(0, elements); }

 private:
  std::vector<Segment> segments_between(std::int64_t first, std::int64_t last) const;
};

/// Parameters that a part of the model uses together.
using ParameterGroup = std::vector<Parameter*>;

struct BucketOptions {
  Zero zero = Zero::stage0;
  int data_ranks = 1;
  int shard_ranks = 0;  ///< see Grid::shard(); 0: all data ranks
  /// Of gradients; a parameter is never cut, and a bucket that is nearly empty takes another one.
  /// 0: 25 MiB, but at most a tenth of all, so that a small model's buckets too can set out during
  /// the backward pass.
  std::size_t bucket_bytes = 0;
  std::size_t gradient_bytes = 4;      ///< of an element
  std::int64_t resident_elements = 0;  ///< stage 3: parameters of up to so many elements stay
};

/// Cuts the parameters of `groups` into buckets, those that are used last first: in this order
/// their gradients become complete. A parameter that is in two groups counts in the first. At stage
/// 3 a bucket holds parameters of one group, and what stays has buckets of its own. A pure function
/// of the layouts: `tensor_rank` may be another rank's.
std::vector<Bucket> make_buckets(std::span<const ParameterGroup> groups, int tensor_rank,
                                 const BucketOptions& options);

/// The layouts of `parameters` over a grid's world (rank = data rank · tensor_ranks + tensor rank),
/// where buckets for which `sharded` holds are cut into shards and others are whole on each rank.
std::vector<Layout> world_layouts(std::span<const ParameterGroup> groups,
                                  std::span<Parameter* const> parameters, int tensor_ranks,
                                  const BucketOptions& options,
                                  const std::function<bool(const Bucket&)>& sharded);

}  // namespace train
