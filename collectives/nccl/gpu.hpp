#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include "collectives/cuda/handles.hpp"
#include "collectives/nccl/world.hpp"
#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::nccl {

/// What all groups of a rank know of its GPU.
class Gpu {
 public:
  explicit Gpu(const Options& options);

  int index() const { return index_; }
  cudaStream_t compute() const { return compute_; }
  Sums sums() const { return sums_; }
  /// Makes it the calling thread's, as calls of CUDA and NCCL need it.
  void use() const;
  /// Where `data` lies. Throws Error, saying whose `buffer` it is, for memory of another GPU.
  detail::Place place_of(const void* data, const std::string& buffer) const;
  /// A stream beside the compute stream, whose work goes first where both have some.
  StreamHandle make_stream() const;

  /// Events that time; kept and reused.
  EventHandle take_event();
  void give_back(EventHandle event) noexcept;

  /// Whether the work before `event` ends within some seconds. Of a GPU that was found to hang, no
  /// more is waited for. For those that let go of what that work uses.
  bool passes(cudaEvent_t event) noexcept;

  /// Set when data under way was lost: what the compute stream holds since then may be rubbish.
  detail::FaultLatch& lost() { return lost_; }

 private:
  const int index_;
  const cudaStream_t compute_;
  const Sums sums_;
  std::mutex mutex_;
  std::vector<EventHandle> events_;
  std::atomic<bool> hangs_ = false;
  detail::FaultLatch lost_;
};

}  // namespace train::nccl
