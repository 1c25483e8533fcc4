#pragma once

#include <cstdint>

#include "collectives/nccl/comm.hpp"
#include "collectives/nccl/scratch.hpp"
#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::nccl {

/// The data movement of each collective, put into the stream of a group whose ranks agreed on it.
///
/// Equal blocks go through NCCL's own reduce-scatter and all-gather, uneven ones through one of its
/// reduces or broadcasts per block, launched as one group: those send the same S (n-1)/n bytes per
/// rank, and between nodes take the same rings and trees, where sends and receives would cross the
/// network once per pair of ranks instead of once per node. Blocks of split rows are nearly equal,
/// but padding them would copy the whole message; ZeRO's shards are made equal where they lie.
///
/// Sums that NCCL makes in another way than asked (see Sums), and min and max of floats, where it
/// drops NaN: every rank is sent its block by all others, reduces it in rank order, and the blocks
/// are gathered. That is as many bytes as a ring sends, and two launches more.
class Moves {
 public:
  Moves(Comm& comm, const detail::Membership& who, Sums sums)
      : comm_(comm), who_(who), sums_(sums), scratch_(comm.stream()) {}

  /// Returns the bytes that leave this rank, by the costs of Communicator.
  std::uint64_t launch(const detail::Operation& operation);

 private:
  std::uint64_t all_reduce(const detail::Operation& operation);
  std::uint64_t reduce_scatter(const detail::Operation& operation);
  std::uint64_t all_gather(const detail::Operation& operation);
  std::uint64_t broadcast(const detail::Operation& operation);
  std::uint64_t all_to_all(const detail::Operation& operation);

  bool native(const detail::Operation& operation) const;
  void gather_and_reduce(const detail::Operation& operation);
  /// Reduces this rank's block of what all ranks send into `out`.
  void reduce_own(const detail::Operation& operation, std::span<const std::size_t> counts,
                  std::byte* out);
  void gather(ConstBuffer own, std::byte* all, std::span<const std::size_t> counts,
              Deadline deadline);
  void copy(std::byte* to, const std::byte* from, std::size_t bytes);

  Comm& comm_;
  const detail::Membership& who_;
  const Sums sums_;
  Scratch scratch_;
};

}  // namespace train::nccl
