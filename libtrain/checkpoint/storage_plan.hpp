#pragma once

#include <cstddef>
#include <vector>

#include "libtrain/tensor/layout.hpp"

namespace train {

/// A block of a tensor that one rank stores, although others may hold it too.
struct StorageBlock {
  Block block;
  int rank = 0;
  /// Which of the rank's blocks it lies in.
  std::size_t within = 0;
};

/// Who stores what of a tensor: every element once, by a rank that holds it. A large block that
/// several ranks hold is cut among them, a small one is stored by one of them, by `turn` (that of
/// the tensor among all). The same on every rank. Blocks may overlap in any way.
/// Throws Error when no rank holds some of the tensor.
std::vector<StorageBlock> plan_storage(const Layout& layout, std::size_t element_bytes,
                                       std::size_t turn);

}  // namespace train
