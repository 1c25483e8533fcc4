#include <algorithm>
#include <array>

#include "collectives/mpi/tags.hpp"
#include "collectives/mpi/transfers.hpp"
#include "collectives/ordered/blocks.hpp"

namespace train::mpi {

using detail::Operation;

namespace {

// What one rank passes on at a time: long enough to keep the cost of a message small.
constexpr std::size_t share_bytes = std::size_t{1} << 20;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// Segments of one share per rank other than the root; two segments are under way at a time.
class Broadcast {
 public:
  Broadcast(Channel& channel, const Operation& operation)
      : channel_(channel),
        operation_(operation),
        size_(channel.who().size),
        own_((channel.who().rank - operation.root - 1 + size_) % size_),
        segment_bytes_(share_bytes * at(size_ - 1)) {}

  std::uint64_t run() {
    const std::size_t segments = (operation_.send.bytes() + segment_bytes_ - 1) / segment_bytes_;
    for (std::size_t k = 0; k < segments; ++k) {
      start(k);
      if (k > 0) pass_on(k - 1);
    }
    if (segments > 0) pass_on(segments - 1);
    for (auto& passing : passing_) await(channel_, operation_, passing);
    return sent_;
  }

 private:
  bool is_root() const { return channel_.who().rank == operation_.root; }
  // Ranks other than the root are numbered upwards from it.
  int rank_of(int other) const { return (operation_.root + 1 + other) % size_; }

  struct Share {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  Share share(std::size_t k, int other) const {
    const auto first = k * segment_bytes_;
    const auto bytes = std::min(segment_bytes_, operation_.send.bytes() - first);
    const auto blocks = detail::even_blocks(bytes, size_ - 1);
    return {operation_.receive.data + first + detail::offsets_of(blocks)[at(other)],
            blocks[at(other)]};
  }

  void start(std::size_t k) {
    auto& passing = passing_[k % 2];
    await(channel_, operation_, passing);
    if (is_root()) {
      for (int other = 0; other < size_ - 1; ++other) send(share(k, other), other, k, scatter_tag);
      return;
    }
    const auto mine = share(k, own_);
    if (mine.bytes > 0) {
      arriving_[k % 2].receive(channel_.comm(), mine.data, mine.bytes, operation_.root,
                               scatter_tag);
    }
    for (int other = 0; other < size_ - 1; ++other) {
      const auto theirs = share(k, other);
      if (other == own_ || theirs.bytes == 0) continue;
      passing.receive(channel_.comm(), theirs.data, theirs.bytes, rank_of(other), gather_tag);
    }
  }

  void pass_on(std::size_t k) {
    if (is_root()) return;
    await(channel_, operation_, arriving_[k % 2]);
    for (int i = 1; i < size_ - 1; ++i) {
      send(share(k, own_), (own_ + i) % (size_ - 1), k, gather_tag);
    }
  }

  void send(Share what, int other, std::size_t k, int tag) {
    if (what.bytes == 0) return;
    passing_[k % 2].send(channel_.comm(), what.data, what.bytes, rank_of(other), tag);
    sent_ += what.bytes;
  }

  Channel& channel_;
  const Operation& operation_;
  const int size_;
  const int own_;
  const std::size_t segment_bytes_;
  std::array<Requests, 2> arriving_;
  std::array<Requests, 2> passing_;
  std::uint64_t sent_ = 0;
};

}  // namespace

std::uint64_t broadcast(Channel& channel, const Operation& operation) {
  return channel.who().size > 1 ? Broadcast(channel, operation).run() : 0;
}

}  // namespace train::mpi
