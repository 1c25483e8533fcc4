#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/autograd/parameter.hpp"

namespace train {

/// Sums gradients over the data group in buckets, while the backward pass still runs: a bucket sets
/// out when the last of its gradients is complete (Li et al.: "PyTorch Distributed", VLDB 2020).
/// With several backward passes per step, only the last one communicates. Cost per step and rank:
/// 2 S (n-1)/n bytes sent for gradients of S bytes.
class GradientReducer {
 public:
  /// Gives every parameter the place of its gradient, within a bucket. The parameters are expected
  /// to become ready roughly in the reverse of their order. Collective in effect: all ranks of
  /// `data` make the same one.
  GradientReducer(const std::vector<std::unique_ptr<Parameter>>& parameters, Communicator& data,
                  Memory& memory, DataType type, std::size_t bucket_bytes);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Before the first of a step's `passes` backward passes: forgets the last step's gradients.
  void begin_step(int passes);
  /// A parameter's gradient is complete for one pass. May start a reduction; returns at once.
  void ready(const Parameter& parameter);
  /// Waits until every bucket is summed. Throws Error when a rank did not take part.
  void finish();

  /// Seconds that finish() has waited: communication that the backward pass did not hide.
  double seconds_waited() const { return seconds_waited_; }
  std::size_t bucket_count() const { return buckets_.size(); }
  /// Buckets of this step whose sums have arrived.
  std::size_t buckets_summed();
  std::size_t gradient_bytes() const;

 private:
  struct Bucket {
    Tensor gradients;
    int parameters = 0;
    int ready = 0;
    Work work;
    bool started = false;
  };
  struct Place {
    Parameter* parameter;
    std::size_t bucket;
    int passes_done;
  };

  void place_parameters(const std::vector<std::unique_ptr<Parameter>>& parameters, Memory& memory,
                        DataType type, std::size_t bucket_bytes);
  void fill_bucket(std::size_t first, std::size_t end, std::int64_t elements, Memory& memory,
                   DataType type);
  void start(Bucket& bucket);

  Communicator& data_;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;
  int passes_ = 1;
  double seconds_waited_ = 0.0;
};

}  // namespace train
