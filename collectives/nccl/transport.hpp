#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "collectives/nccl/comm.hpp"
#include "collectives/nccl/messages.hpp"
#include "collectives/nccl/moves.hpp"
#include "collectives/nccl/watch.hpp"
#include "collectives/ordered/transport.hpp"

namespace train::nccl {

/// A rank's part of a group whose buffers may lie in its GPU's memory. The ranks meet over the
/// host's transport, which also moves what lies in the host's memory; NCCL moves the rest. A
/// group's communicator of NCCL is made by its first collective on the device: it takes a good
/// part of a second and some hundred MiB, and many groups never move a GPU's data.
class NcclTransport final : public detail::Transport {
 public:
  NcclTransport(std::shared_ptr<detail::Transport> host, std::shared_ptr<Gpu> gpu);
  ~NcclTransport() override;

  const detail::Membership& who() const override { return host_->who(); }
  void prepare(detail::Operation& operation) override;
  void report_to(std::shared_ptr<detail::FaultLatch> latch) override;
  void land_flights() override { watch_.land(); }
  void check_peers() override { host_->check_peers(); }
  std::vector<detail::Arrival> meet(const detail::Operation& operation) override;
  std::uint64_t move(const detail::Operation& operation) override;
  std::shared_ptr<detail::Transport> split(const detail::Operation& operation,
                                           std::span<const int> members) override;
  std::shared_ptr<Work::State> send(ConstBuffer buffer, int peer, int tag,
                                    Deadline deadline) override;
  std::shared_ptr<Work::State> receive(Buffer buffer, int peer, int tag,
                                       Deadline deadline) override;
  void fail(const detail::Fault& why) noexcept override;
  void leave() noexcept override;

 private:
  detail::Place place_of(const detail::Operation& operation) const;
  detail::Place place_of(const char* call, ConstBuffer buffer) const;
  /// The first time: makes the group's communicator of NCCL.
  void open(const detail::Operation& operation);
  /// For the watch: throws when NCCL or another rank has failed.
  void look();
  /// Data that was under way is gone: what this rank computed since may be rubbish.
  void lose(const detail::Fault& why);

  std::shared_ptr<detail::Transport> host_;
  std::shared_ptr<Gpu> gpu_;
  std::shared_ptr<detail::FaultLatch> latch_;
  Messages messages_;
  std::atomic<bool> given_up_ = false;
  /// Of the worker alone: the operation on which the ranks meet, and what they brought.
  detail::Operation meeting_;
  detail::Place agreed_ = detail::Place::host;
  Comm::Id id_{};
  /// Guards the pointers, which the worker sets.
  std::mutex mutex_;
  std::unique_ptr<Comm> comm_;
  std::unique_ptr<Moves> moves_;
  Watch watch_;  // last: its thread uses all of the above
};

}  // namespace train::nccl
