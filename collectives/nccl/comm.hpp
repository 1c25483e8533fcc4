#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include <nccl.h>

#include "collectives/cuda/handles.hpp"
#include "collectives/nccl/gpu.hpp"
#include "collectives/work.hpp"

namespace train::nccl {

/// A communicator of NCCL that never blocks, and the stream of its work. Calls may come from
/// several threads; each waits its turn, by its deadline.
class Comm {
 public:
  /// What rank 0 makes and all ranks need, as words.
  using Id = std::array<std::uint64_t, NCCL_UNIQUE_ID_BYTES / sizeof(std::uint64_t)>;
  static Id make_id();

  /// Collective. Throws Error at the deadline, and soon after `given_up` is set.
  Comm(std::shared_ptr<Gpu> gpu, const Id& id, int rank, int size, Deadline deadline,
       const std::atomic<bool>& given_up);
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;
  /// Aborts what was not closed.
  ~Comm();

  cudaStream_t stream() const { return stream_.get(); }
  /// Gives the calls that `body` makes to NCCL as one group, and returns when they are in the
  /// stream. `what` names them in errors.
  void launch(const char* what, Deadline deadline, const std::function<void(ncclComm_t)>& body);
  /// Throws what NCCL found out since the last call, such as a peer that died.
  void check_async();
  /// Ends NCCL's work in the stream, done or not. Returns after some seconds at the latest.
  void abort() noexcept;
  /// Once the stream's work is done. NCCL lets go of memory that other ranks may still read, so it
  /// waits for them; those that do not come within `grace` have failed or hang.
  void close(std::chrono::milliseconds grace) noexcept;

 private:
  /// Polls until NCCL is done with what it began. The lock is let go meanwhile.
  void settle(std::unique_lock<std::mutex>& lock, const char* what, Deadline deadline);

  std::shared_ptr<Gpu> gpu_;
  const std::atomic<bool>& given_up_;
  StreamHandle stream_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace train::nccl
