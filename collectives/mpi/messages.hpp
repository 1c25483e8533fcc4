#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "collectives/mpi/channel.hpp"
#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train::mpi {

class Message;

/// Messages between two ranks of a group: a header (type and count), which the receiver compares
/// with what it expects, and the payload. Both are posted when called, so that MPI moves them in
/// whatever wait of this process comes next.
class Messages {
 public:
  explicit Messages(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}

  std::shared_ptr<Work::State> send(ConstBuffer buffer, int peer, int tag, Deadline deadline);
  std::shared_ptr<Work::State> receive(Buffer buffer, int peer, int tag, Deadline deadline);
  /// Waits for all that are under way, each by its deadline.
  void drain() noexcept;
  /// Ends all that are under way; receives are cancelled while their buffers still live.
  void fail(const detail::Fault& why) noexcept;

 private:
  std::shared_ptr<Work::State> keep(std::shared_ptr<Message> message);

  std::shared_ptr<Channel> channel_;
  std::mutex mutex_;
  /// A dropped Work neither cancels nor waits: somebody must own what it started.
  std::vector<std::shared_ptr<Message>> under_way_;
};

}  // namespace train::mpi
