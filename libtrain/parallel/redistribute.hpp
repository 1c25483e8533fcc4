#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "collectives/communicator.hpp"
#include "libtrain/tensor/layout.hpp"

namespace train {

/// One tensor's way from one layout to another over the ranks of a group. The buffers are host
/// memory. The type of a buffer without elements does not matter.
struct Redistribution {
  std::string name;
  Layout from, to;
  /// This rank's blocks under `from`, one after another.
  ConstBuffer source;
  /// This rank's blocks under `to`.
  Buffer target;
};

struct RedistributeOptions {
  /// Memory for pieces that do not lie in one stretch, sending and receiving together; at least 2.
  std::size_t staging_bytes = std::size_t{16} << 20;
};

/// What it took on this rank.
struct RedistributeCost {
  std::uint64_t bytes_copied = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  /// Staging memory that was needed, at most what the options allow.
  std::size_t staging_bytes = 0;
};

/// Fills every target from the sources, for any two layouts of a tensor: split along any dimension,
/// uneven, several blocks per rank, replicated in whole or in part, on ranks apart. Collective: all
/// ranks pass the same names, layouts and options, and their own buffers; returns when this rank's
/// part is done. Layouts may hold less than the tensor, as long as `from` holds what `to` asks for.
///
/// Cost: a rank sends and receives bytes that are in a target and not in the same rank's source,
/// once per target; for S bytes that go from a split over n ranks to another, unrelated one, that
/// is S (n-1)/n² per rank. What several ranks hold is sent by one of them, in turns. Three small
/// all-reduces come first. Messages have at most half of staging_bytes.
/// Memory: at most staging_bytes, and the plan: 80 bytes for each piece that the rank sends or
/// receives, 160 for one that it copies, 40 for each message, and while a tensor is planned 64 for
/// each of its blocks on any rank.
///
/// Throws Error on every rank, before any target is written, when a rank's buffers do not fit its
/// layouts, overlap or differ in type, when layouts do not fit each other or the group, when ranks
/// do not agree on them, or when a target asks for a block that no source holds.
RedistributeCost redistribute(Communicator& group, std::span<const Redistribution> tensors,
                              const RedistributeOptions& options = {});

}  // namespace train
