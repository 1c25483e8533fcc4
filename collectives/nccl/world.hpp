#pragma once

#include <cstdint>
#include <memory>

#include "collectives/communicator.hpp"

namespace train::nccl {

/// How sums of f32, bf16 and f64 in a GPU's memory are made. Integers are exact in any way, and all
/// ways give every rank the same bits.
enum class Sums : std::uint8_t {
  /// NCCL's: fastest, above all between nodes. The order is that of its rings and trees, and a sum
  /// of bf16 is rounded at every hop, so its error grows with the number of ranks.
  native,
  /// NCCL's for f32 and f64; bf16 accumulates in f32, in rank order, and is rounded once.
  precise,
  /// In rank order, whatever the type: the same bits as every other backend's.
  ordered,
};

struct Options {
  int device = 0;                  ///< as CUDA counts them in this process
  void* compute_stream = nullptr;  ///< a cudaStream_t of that device; outlives the communicators
  Sums sums = Sums::precise;
};

/// The group of `host`, for buffers in the memory of a GPU as well: those go through NCCL, buffers
/// of the host through a group that is split from `host`. Collective over `host`, which must
/// outlive the new group and be a backend of this library. Throws Error in a build without NCCL.
///
/// A collective on device buffers starts after the work that the compute stream held when it was
/// called. Work::wait() returns once it is launched, and has later work of the compute stream wait
/// for its end. The host waits for the GPU only with a deadline (wait_until, done), while the group
/// is observed, and at a barrier, which ends after the calls before it. A call's buffers lie all on
/// the device or all on the host, and alike on every rank that has elements. The ranks agree on a
/// call over the host's group, as always.
///
/// A rank that fails or hangs while data is under way ends the collective on all ranks, at the
/// latest at its deadline. Since the compute stream may then have gone on with rubbish, all groups
/// of this rank's GPU fail with it.
///
/// send() and receive() of device buffers pass through the host's memory: send() returns when the
/// compute stream has come to it, and what a receive() brought is on the device for work that is
/// enqueued after its wait().
std::unique_ptr<Communicator> make_communicator(Communicator& host, const Options& options);

}  // namespace train::nccl
