#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/parallel/bucket.hpp"
#include "libtrain/parallel/wait_timer.hpp"

namespace train {

/// Sums gradients over the data group in buckets, while the backward pass still runs: a bucket sets
/// out when the last of its gradients is complete (Li et al.: "PyTorch Distributed", VLDB 2020).
///
/// stage 0: every rank gets the sum. Bytes sent per step and rank 2 S (n-1)/n for S of gradients.
/// stage 1: every rank gets its shard of the sum. S (n-1)/n.
/// Both communicate in the last of a step's passes only, and gradients have memory of their own.
/// stages 2 and 3: a bucket's memory exists from its first gradient until its sum has been added to
/// the shard, in every pass. S (n-1)/n per pass. One fills while one travels: two at a time, and a
/// third where a tied head writes the embedding's gradient before all others.
/// Where several shard groups hold copies, a shard's sum goes on to be summed over the replicas, in
/// the last pass, while the next bucket fills: 2 S/n (r-1)/r more for r replicas.
class GradientReducer {
 public:
  /// Takes over the gradients of all parameters in `buckets`, which must outlive the reducer.
  /// Collective in effect: all ranks of `ranks`, over which each bucket is summed, and of
  /// `replicas`, over which shards are summed then, make the same one.
  GradientReducer(const std::vector<Bucket>& buckets, Zero zero, Communicator& ranks,
                  const Device& device, DataType type, Communicator* replicas = nullptr);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Before the first of a step's `passes` backward passes: forgets the last step's gradients, also
  /// of one that was given up in the midst of a pass. Waits for what of those is on its way.
  void begin_step(int passes);
  /// A parameter's gradient is complete for one pass. May start a reduction; at stages 2 and 3
  /// waits for the one before it.
  void ready(Parameter& parameter);
  /// Waits until every bucket is summed. Throws Error when a rank did not take part.
  void finish();

  /// This rank's part of a bucket's sum: its shard, or at stage 0 all. Valid after finish().
  Tensor gradient(std::size_t bucket) const;

  /// Communication that the backward pass did not hide.
  WaitTimer& waits() { return waits_; }
  const WaitTimer& waits() const { return waits_; }
  /// Buckets of this pass whose sums have arrived.
  std::size_t buckets_summed();

 private:
  struct State {
    Tensor full;   // gradients of the whole bucket
    Tensor shard;  // stages 2 and 3
    int ready = 0;
    bool started = false;
    int passes_summed = 0;  // stages 2 and 3: passes whose sums are in `shard`
    Work work;
    std::vector<Work> sums;
  };
  struct Place {
    std::size_t bucket;
    int passes_done = 0;
  };

  bool frees() const { return zero_ >= Zero::stage2; }
  Tensor own_part(std::size_t bucket) const;
  void open(std::size_t bucket, MemoryUse use);
  bool fills(std::size_t bucket) const;
  void take_in(std::size_t bucket);
  void start(std::size_t bucket);
  void retire(std::size_t under_way);
  void give_up();

  const std::vector<Bucket>& buckets_;
  Zero zero_;
  Communicator& ranks_;
  Communicator* replicas_;
  const Device& device_;
  DataType type_;
  std::vector<State> states_;
  std::unordered_map<const Parameter*, Place> places_;
  std::deque<std::size_t> under_way_;  // whose sums have a next step, the oldest first
  std::size_t opened_last_ = 0;
  int passes_ = 1;
  WaitTimer waits_;
};

}  // namespace train
