#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "collectives/mpi/tags.hpp"
#include "collectives/mpi/transfers.hpp"
#include "collectives/ordered/blocks.hpp"
#include "collectives/ordered/reduce.hpp"

// Why not MPI_Allreduce: it knows no bf16, may sum in any order, blocks without a deadline, and
// hangs or corrupts where ranks disagree. Each rank sends block j of its buffer straight to rank j,
// which sums all of them in rank order; nothing is rounded on the way.

namespace train::mpi {

using detail::Operation;

namespace {

// Chunks under way at a time: one is received while the one before it is reduced.
constexpr std::size_t depth = 2;
constexpr std::size_t chunk_bytes_max = std::size_t{512} << 10;
// Bounds the memory for chunks that wait to be reduced, unless there are very many ranks.
constexpr std::size_t staging_bytes_max = std::size_t{16} << 20;
constexpr std::size_t chunk_bytes_min = std::size_t{64} << 10;

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

/// The steps of one reduction. Step k moves chunk k of every block. `destination` takes this
/// rank's reduced block; with `gathered` (the whole buffer, of which destination is a part) every
/// rank also gets all other blocks.
class Reduction {
 public:
  Reduction(Channel& channel, const Operation& operation, std::span<const std::size_t> blocks,
            std::byte* destination, std::byte* gathered)
      : channel_(channel),
        operation_(operation),
        size_(channel.who().size),
        rank_(channel.who().rank),
        width_(size_of(operation.send.type)),
        blocks_(blocks),
        offsets_(detail::offsets_of(blocks)),
        destination_(destination),
        gathered_(gathered) {
    const auto others = std::max<std::size_t>(1, at(size_ - 1));
    const auto bytes =
        std::clamp(staging_bytes_max / (depth * others), chunk_bytes_min, chunk_bytes_max);
    chunk_ = bytes / width_;
    staging_ = channel.staging(std::min(chunk_, blocks[at(rank_)]) * width_ * depth * at(size_));
  }

  std::uint64_t run() {
    const auto longest = *std::ranges::max_element(blocks_);
    const auto steps = (longest + chunk_ - 1) / chunk_;
    for (std::size_t k = 0; k < steps; ++k) {
      start(k);
      if (k > 0) reduce(k - 1);
    }
    if (steps > 0) reduce(steps - 1);
    for (auto& gathering : gathering_) await(channel_, operation_, gathering);
    return sent_;
  }

 private:
  /// Elements of chunk k in a rank's block; 0 past its end.
  std::size_t count_of(int rank, std::size_t k) const {
    const auto block = blocks_[at(rank)];
    return k * chunk_ < block ? std::min(chunk_, block - k * chunk_) : 0;
  }
  /// Where chunk k of a rank's block begins in the whole buffer, in bytes.
  std::size_t offset_of(int rank, std::size_t k) const {
    return (offsets_[at(rank)] + k * chunk_) * width_;
  }
  std::byte* staged(int peer, std::size_t k) const {
    const auto bytes = std::min(chunk_, blocks_[at(rank_)]) * width_;
    return staging_ + (k % depth * at(size_) + at(peer)) * bytes;
  }

  void start(std::size_t k) {
    const auto own = count_of(rank_, k) * width_;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ - i + size_) % size_;
      const int to = (rank_ + i) % size_;
      if (own > 0) {
        receiving_[k % depth].receive(channel_.comm(), staged(from, k), own, from, scatter_tag);
      }
      if (const auto bytes = count_of(to, k) * width_; bytes > 0) {
        sending_[k % depth].send(channel_.comm(), operation_.send.data + offset_of(to, k), bytes,
                                 to, scatter_tag);
        sent_ += bytes;
      }
    }
  }

  void reduce(std::size_t k) {
    await(channel_, operation_, receiving_[k % depth]);
    if (const auto count = count_of(rank_, k); count > 0) {
      sources_.clear();
      for (int rank = 0; rank < size_; ++rank) {
        sources_.push_back(rank == rank_ ? operation_.send.data + offset_of(rank_, k)
                                         : staged(rank, k));
      }
      detail::reduce(operation_.send.type, operation_.op, sources_,
                     destination_ + k * chunk_ * width_, count);
    }
    // In place, what was sent is about to be overwritten.
    await(channel_, operation_, sending_[k % depth]);
    if (gathered_) gather(k);
  }

  void gather(std::size_t k) {
    auto& gathering = gathering_[k % depth];
    await(channel_, operation_, gathering);
    const auto own = count_of(rank_, k) * width_;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ - i + size_) % size_;
      const int to = (rank_ + i) % size_;
      if (const auto bytes = count_of(from, k) * width_; bytes > 0) {
        gathering.receive(channel_.comm(), gathered_ + offset_of(from, k), bytes, from, gather_tag);
      }
      if (own > 0) {
        gathering.send(channel_.comm(), gathered_ + offset_of(rank_, k), own, to, gather_tag);
        sent_ += own;
      }
    }
  }

  Channel& channel_;
  const Operation& operation_;
  const int size_;
  const int rank_;
  const std::size_t width_;
  const std::span<const std::size_t> blocks_;
  const std::vector<std::size_t> offsets_;
  std::byte* const destination_;
  std::byte* const gathered_;
  std::size_t chunk_ = 0;
  std::byte* staging_ = nullptr;
  std::vector<const std::byte*> sources_;
  std::array<Requests, depth> receiving_, sending_, gathering_;
  std::uint64_t sent_ = 0;
};

}  // namespace

std::uint64_t all_reduce(Channel& channel, const Operation& operation) {
  const auto blocks = detail::even_blocks(operation.send.count, channel.who().size);
  const auto own = detail::offsets_of(blocks)[at(channel.who().rank)];
  auto* whole = operation.receive.data;
  return Reduction(channel, operation, blocks, whole + own * size_of(operation.send.type), whole)
      .run();
}

std::uint64_t reduce_scatter(Channel& channel, const Operation& operation) {
  return Reduction(channel, operation, operation.counts, operation.receive.data, nullptr).run();
}

}  // namespace train::mpi
