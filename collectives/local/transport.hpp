#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/local/room.hpp"
#include "collectives/ordered/transport.hpp"

namespace train::local {

/// One rank's way to the memory of the others. A reduction is shared out: each rank reduces its
/// own block, in rank order, straight from the others' buffers; then all copy the blocks.
class LocalTransport final : public detail::Transport {
 public:
  LocalTransport(Room room, int rank);

  const detail::Membership& who() const override { return who_; }
  void check_peers() override { room_.group->check(who_.rank); }
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
  std::uint64_t all_reduce(const detail::Operation& operation);
  std::uint64_t reduce_scatter(const detail::Operation& operation);
  std::uint64_t all_gather(const detail::Operation& operation);
  std::uint64_t broadcast(const detail::Operation& operation);
  std::uint64_t all_to_all(const detail::Operation& operation);

  /// Reduces elements [first, first + count) of all ranks' send buffers into `destination`.
  void reduce_share(const detail::Operation& operation, std::size_t first, std::size_t count,
                    std::byte* destination) const;

  Room room_;
  detail::Membership who_;
};

}  // namespace train::local
