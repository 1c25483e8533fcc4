#pragma once

#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/parallel/bucket.hpp"
#include "libtrain/parallel/wait_timer.hpp"

namespace train {

/// The values of bucketed parameters. A resident bucket's values are always here; after each rank
/// has updated its shard, publish() shares them out: S (n-1)/n bytes sent per rank and step for S
/// of values (stages 1 to 3; at stage 0 every rank updates all). Of a gathered bucket (stage 3) a
/// rank keeps its shard alone; fetch() brings the rest for a while: S (n-1)/n each time.
class ParameterBuckets {
 public:
  /// Moves the parameters' values into the buckets' memory, drawing those that are not drawn yet
  /// bucket by bucket. Collective in effect.
  ParameterBuckets(const std::vector<Bucket>& buckets, Communicator& shard, const Device& device);
  ParameterBuckets(const ParameterBuckets&) = delete;
  ParameterBuckets& operator=(const ParameterBuckets&) = delete;

  /// The values that this rank updates.
  Tensor shard(std::size_t bucket) const;
  /// All values of a resident bucket, the shard of a gathered one: what stays on this rank.
  Tensor kept(std::size_t bucket) const {
    return buckets_[bucket].gathered ? states_[bucket].shard : states_[bucket].full;
  }

  /// Starts to share out the shards of a resident bucket; values must not be read before
  /// finish_publishing().
  void publish(std::size_t bucket);
  void finish_publishing();

  /// Starts to gather a bucket; nothing when it is here or on its way.
  void fetch(std::size_t bucket);
  /// Waits until a bucket's values are here, fetching them if nobody has.
  void require(std::size_t bucket);
  /// Frees a gathered bucket's values.
  void release(std::size_t bucket);
  /// Before shards change: frees whatever is still gathered or on its way, as after a loss that was
  /// never taken backward.
  void release_all();

  /// Gathering that computation did not hide.
  WaitTimer& waits() { return waits_; }
  const WaitTimer& waits() const { return waits_; }

 private:
  struct State {
    Tensor full;   // resident: always; gathered: while it is fetched
    Tensor shard;  // gathered: this rank's part
    Work work;
    bool here = false;
  };

  Tensor own_part(std::size_t bucket) const;
  void place(std::size_t bucket);

  const std::vector<Bucket>& buckets_;
  Communicator& shard_;
  const Device& device_;
  std::vector<State> states_;
  WaitTimer waits_;
};

}  // namespace train
