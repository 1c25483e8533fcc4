#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/mpi/channel.hpp"
#include "collectives/mpi/messages.hpp"
#include "collectives/ordered/transport.hpp"

namespace train::mpi {

/// One rank's part of a group of processes. Built on MPI's sends and receives alone: its own
/// collectives know neither bf16 nor a deadline, leave the order of a sum to the library, and hang
/// where ranks disagree.
class MpiTransport final : public detail::Transport {
 public:
  explicit MpiTransport(std::shared_ptr<Channel> channel);

  const detail::Membership& who() const override { return channel_->who(); }
  void check_peers() override { channel_->throw_if_peer_gone(); }
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
  std::byte* slot(int rank) { return slots_.data() + static_cast<std::size_t>(rank) * slot_bytes_; }
  /// What `rank` sent along when it met the others.
  const std::byte* inlined(int rank) const;
  std::uint64_t move_inlined(const detail::Operation& operation) const;

  std::shared_ptr<Channel> channel_;
  Messages messages_;
  /// One arrival per rank: signature, details, and the payload of a small operation.
  std::size_t slot_bytes_;
  std::vector<std::byte> slots_;
  Requests meeting_;
  std::uint64_t met_ = 0;
};

}  // namespace train::mpi
