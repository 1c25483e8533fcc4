#pragma once

#include <cstdint>
#include <span>

namespace train {

/// Sequences that go through the model together. Spans hold sequences × context tokens.
struct Batch {
  std::span<const std::int32_t> inputs;
  std::span<const std::int32_t> targets;
  std::int64_t sequences = 0;
  std::int64_t context = 0;

  /// Where this batch lies in the step: the global index of its first sequence, for dropout.
  std::int64_t first_sequence = 0;
  std::int64_t step = 0;
  /// Tokens that the loss is a mean over; 0 means those of this batch. A micro-batch names the
  /// whole step's tokens, so that the micro-batches' losses and gradients add up to the step's.
  std::int64_t tokens_in_step = 0;
};

}  // namespace train
