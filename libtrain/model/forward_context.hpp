#pragma once

#include <string_view>

#include "libtrain/model/execution.hpp"

namespace train {

/// Activations that the backward pass computes again instead of keeping them.
enum class Recompute : std::uint8_t {
  none,
  attention,  ///< what attention makes of its normed input; costs its forward pass once more
  block,      ///< all of a block but its input; costs the block's forward pass once more
};

/// "none", "attention", "block"; throws Error otherwise.
Recompute recompute_from(std::string_view text);

/// Where a forward pass stands, and on what it runs: what dropout and positions depend on.
struct ForwardContext {
  const Execution* execution = nullptr;
  AttentionShape attention;
  std::int64_t first_head = 0;  ///< this rank's heads begin there
  std::int64_t first_row = 0;   ///< this rank's rows of the residual stream begin there
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::int64_t first_sequence = 0;
  Recompute recompute = Recompute::none;

  /// Of the residual stream, over all ranks that share the model.
  std::int64_t rows() const { return attention.batch * attention.context; }
};

}  // namespace train
