#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "collectives/wide/codec/codec.hpp"

namespace train::wide {

/// What one contributor's encodings of a tensor have lost so far, to be sent later: each exchange
/// encodes value + residual, and what that loses is the next residual (Seide et al. 2014, "1-bit
/// stochastic gradient descent"). The sum of what was decoded over many exchanges then differs from
/// the sum of the values by the present residual alone, at most half a scale per element.
///
/// The new residual counts from commit() on. Until then an exchange may be encoded again, whole or
/// in part: the same values give the same bytes. A contributor encodes all of its tensor, the slice
/// that it owns too: what it contributes does not depend on who owns what. What owners' encodings
/// of the mean lose is theirs to send later (SumFeedback).
///
/// State of one contributor, in memory alone: two f32 per element, none for Codec::none, which
/// loses nothing. A cluster that returns, or starts from a checkpoint, starts with zeros: the
/// little that its earlier self still owed is forgotten.
class ErrorFeedback {
 public:
  /// For a tensor, or a lane's part of all, of `count` elements; the residual is zero. `memory`
  /// must outlive it.
  ErrorFeedback(Codec codec, std::size_t count,
                std::pmr::memory_resource* memory = std::pmr::get_default_resource());

  /// Encodes values[i] + residual[begin + i] to `out`, of encoded_bytes(values.size()). `begin` is
  /// a multiple of codec_block, and so is the end unless it is the tensor's. Throws NotEncodable,
  /// with an index into `values`. Threads may encode different slices at the same time.
  void encode(std::size_t begin, std::span<const float> values, std::span<std::byte> out);

  /// The exchange has been applied: what its encodings lost is the residual now. All of the tensor
  /// must have been encoded since the last commit.
  void commit();

  /// The exchange will not be retried with these values: forgets its encodings.
  void discard();

  /// Zeros again, as if newly made.
  void reset();

  Codec codec() const { return codec_; }
  std::size_t count() const { return count_; }
  /// Of the exchanges committed; `count` elements, or none for Codec::none.
  std::span<const float> residual() const { return residual_; }

 private:
  Codec codec_;
  std::size_t count_;
  std::pmr::vector<float> residual_, next_;
  std::pmr::vector<std::uint8_t> encoded_;  // per block: next_ holds what this exchange lost
};

}  // namespace train::wide
