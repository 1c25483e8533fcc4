#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libtrain/tensor/layout.hpp"

namespace train {

/// A stretch that lies in one piece both in a stored block and in what is wanted, in bytes.
struct SharedRun {
  std::uint64_t stored;
  std::uint64_t wanted;
  std::uint64_t bytes;
};

/// A piece of a stored block that has to be read, and what of it is wanted.
struct PieceToRead {
  std::uint64_t index;
  std::vector<SharedRun> runs;
};

/// The pieces of `stored` that hold something of the wanted blocks, in order, each once. Places in
/// what is wanted count from the first of the wanted blocks, which lie one after another. Takes 24
/// bytes for each of the rows that do not follow each other in both.
std::vector<PieceToRead> plan_pieces(const Block& stored, std::span<const Block> wanted,
                                     std::size_t element_bytes, std::uint64_t piece_bytes);

}  // namespace train
