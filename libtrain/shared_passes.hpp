#pragma once

#include <cstdint>
#include <vector>

#include "libtrain/parallel/grid.hpp"

namespace train {

/// Rows `begin` … `begin` + `count` - 1 of some that go through the model without a way back.
struct SharedPass {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  bool counts = true;  ///< else it is made for nothing
};

/// This rank's passes over `rows` rows (at least one), of at most `micro_batch` each, shared out
/// over the ranks that see different sequences. Every rank makes as many, the last one for nothing
/// if need be: ranks that share the parameters' memory pass through the model together.
std::vector<SharedPass> shared_passes(const Grid& grid, std::int64_t rows,
                                      std::int64_t micro_batch);

}  // namespace train
