#pragma once

#include <cstddef>
#include <cstdint>

#include "libtrain/data/sample_order.hpp"

namespace train {

/// Which windows of a sequence of tokens its samples are, epoch after epoch for ever.
///
/// One epoch cuts the tokens into windows that do not overlap, beginning at an offset that changes
/// from epoch to epoch so that window boundaries move, and visits each window once in an order of
/// its own. Any sample is found without those before it.
class SampleWindows {
 public:
  /// Windows of `context` tokens and the one that follows; `tokens` must hold one.
  SampleWindows(std::uint64_t tokens, std::size_t context, std::uint64_t seed);

  /// floor((tokens - 1 - offset) / context), where the epoch's offset is within [0, context).
  /// Epochs count from 0.
  std::uint64_t samples_per_epoch(std::uint64_t epoch) const { return cut_of(epoch).samples; }

  struct Place {
    std::uint64_t epoch;
    std::uint64_t index;  ///< in the epoch's order
  };
  /// Costs up to `context` short steps in late epochs of few tokens.
  Place locate(std::uint64_t sample) const;

  /// How often the tokens have been read when `samples` samples have.
  double epochs_in(std::uint64_t samples) const;

  class Walk;

 private:
  /// How an epoch cuts the tokens.
  struct Cut {
    std::uint64_t offset;
    std::uint64_t samples;
  };

  std::uint64_t offsets() const;
  Cut cut_of(std::uint64_t epoch) const;

  std::uint64_t tokens_;
  std::size_t context_;
  std::uint64_t seed_;
};

/// Reads samples in their order, from any one on, without locating each.
class SampleWindows::Walk {
 public:
  /// `windows` must outlive the walk.
  Walk(const SampleWindows& windows, std::uint64_t first);

  /// The first token of the next sample.
  std::uint64_t next();

 private:
  const SampleWindows& windows_;
  Place place_;
  Cut cut_;
  SampleOrder order_;
};

}  // namespace train
