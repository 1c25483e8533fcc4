#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collectives/ordered/operation.hpp"

namespace train::detail {

/// One rank's place in one group.
struct Membership {
  std::string group;
  int rank = 0;
  int size = 1;
};

/// What all ranks must agree on before a byte of a collective moves. Travels as it lies in memory:
/// the ranks of a cluster run the same program.
struct Signature {
  std::uint64_t sequence = 0;
  /// Elements: of the whole message for reductions, gather and broadcast; 0 where ranks may differ.
  std::uint64_t count = 0;
  /// Of the blocks' sizes; 0 where there are none.
  std::uint64_t blocks_hash = 0;
  std::int32_t root = 0;
  Kind kind = Kind::barrier;
  ReduceOp op = ReduceOp::sum;
  DataType type = DataType::u8;
  Place place = Place::host;
  /// Words that the transport attached to the details. Ranks need not agree on them.
  std::uint32_t attached = 0;
  std::uint32_t unused = 0;

  /// Of what ranks must agree on, but for the place: a rank that has no elements has none.
  bool operator==(const Signature& other) const;
};
static_assert(sizeof(Signature) == 40);

/// One rank's signature and what it adds: all_to_all its send counts, then its receive counts;
/// split its color and key; others nothing. What the transport attached lies behind.
struct Arrival {
  Signature signature;
  std::vector<std::uint64_t> details;
};

Arrival arrival_of(const Operation& operation);
/// How many details every rank sends along with a call like this one in a group of `size`, without
/// what is attached.
std::size_t detail_count(Kind kind, int size);
/// Where the ranks' elements lie: nowhere if no rank has any. Once they agree.
Place place_of(std::span<const Arrival> arrivals);

/// "all_reduce(sum, f32, count 1024)", with " on the device" where that is so.
std::string describe(const Signature& signature);
/// "rank 2", "ranks 0-3, 7".
std::string list_ranks(std::span<const int> ranks);

/// Throws Error, with the same text on every rank but for its last words, unless all arrivals (by
/// rank) match. The text names who called what.
void require_agreement(const Membership& who, std::span<const Arrival> arrivals);

/// Ranks whose split color is `color`, ordered by key, then rank. Empty for color -1.
std::vector<int> members_of(std::span<const Arrival> arrivals, int color);

/// The stall inspector's report: `missing` did not arrive before the operation's deadline.
std::string describe_stall(const Membership& who, const Operation& operation,
                           std::span<const int> missing);

}  // namespace train::detail
