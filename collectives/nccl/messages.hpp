#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "collectives/nccl/gpu.hpp"
#include "collectives/ordered/transport.hpp"

namespace train::nccl {

class ReceivedMessage;

/// Messages of device buffers, carried by the host's transport. NCCL pairs sends and receives by
/// their order in a stream and holds up the stream until both are there; messages here have tags,
/// pass beside the collectives, and two ranks may both send first. NCCL could give that with a
/// communicator per pair and direction. What sends messages here is redistribution and reports,
/// which pass through the host anyway.
class Messages {
 public:
  explicit Messages(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)) {}

  std::shared_ptr<Work::State> send(detail::Transport& host, ConstBuffer buffer, int peer, int tag,
                                    Deadline deadline);
  std::shared_ptr<Work::State> receive(detail::Transport& host, Buffer buffer, int peer, int tag,
                                       Deadline deadline);
  /// Waits for all receives, each by its deadline.
  void drain() noexcept;

 private:
  /// The stream of copies to the host. Made by the first of them.
  cudaStream_t copies();

  std::shared_ptr<Gpu> gpu_;
  std::mutex mutex_;
  StreamHandle copies_;
  /// A dropped Work neither cancels nor waits: what comes must still reach the device.
  std::vector<std::shared_ptr<ReceivedMessage>> under_way_;
};

}  // namespace train::nccl
