#pragma once

#include <cstddef>
#include <memory_resource>
#include <span>
#include <vector>

#include "collectives/wide/codec/codec.hpp"

namespace train::wide {

/// What an owner's encodings of the means that it has summed lost so far, to go into later ones:
/// the other half of ErrorFeedback, for the slice of a lane that one cluster sums for all. Others
/// only apply the bytes that they are sent, so it is no part of what clusters must agree on.
///
/// What was lost counts from commit() on: a retry for the same slice gives the same bytes. Slices
/// move with the clusters and their speeds: what was lost where this cluster sums no more is
/// forgotten, and a slice that is new to it begins with zeros.
///
/// Two f32 per value of the slice, none for Codec::none. State of one process, as ErrorFeedback is.
class SumFeedback {
 public:
  /// `memory` must outlive it.
  explicit SumFeedback(Codec codec,
                       std::pmr::memory_resource* memory = std::pmr::get_default_resource())
      : codec_(codec), kept_(memory), next_(memory) {}

  /// An attempt begins, in which this cluster sums `count` values of the lane from `begin` on; both
  /// ends lie between blocks, or at the lane's end.
  void begin(std::size_t begin, std::size_t count);

  /// Encodes sums[i] + residual to `out`, and replaces each by what its bytes decode to. The chunk
  /// lies at `begin` in the lane, within the slice and between blocks. Throws NotEncodable.
  void quantise(std::size_t begin, std::span<float> sums, std::span<std::byte> out);

  /// The attempt has been applied: what its encodings lost is the residual of its slice now. All of
  /// the slice must have been encoded since begin().
  void commit();

  /// Zeros again, as if newly made.
  void reset();

  /// Where the committed residual lies in the lane, and what it is.
  std::size_t residual_begin() const { return kept_.begin; }
  std::span<const float> residual() const { return kept_.lost; }

 private:
  struct Slice {
    explicit Slice(std::pmr::memory_resource* memory) : lost(memory) {}

    std::size_t begin = 0;
    std::pmr::vector<float> lost;
    std::size_t end() const { return begin + lost.size(); }
  };

  Codec codec_;
  Slice kept_, next_;
  std::size_t encoded_ = 0;  // values of next_
};

}  // namespace train::wide
