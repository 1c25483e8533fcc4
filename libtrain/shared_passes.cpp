#include "libtrain/shared_passes.hpp"

#include <algorithm>

namespace train {

std::vector<SharedPass> shared_passes(const Grid& grid, std::int64_t rows,
                                      std::int64_t micro_batch) {
  invariant(micro_batch >= 1, "a pass has at least one row");
  const std::int64_t ranks = grid.batch_parts();
  const std::int64_t chunks = (rows + micro_batch - 1) / micro_batch;
  std::vector<SharedPass> passes;
  for (std::int64_t turn = 0; turn < (chunks + ranks - 1) / ranks; ++turn) {
    const std::int64_t chunk = turn * ranks + grid.batch_part();
    const std::int64_t begin = std::min(chunk, chunks - 1) * micro_batch;
    passes.push_back({begin, std::min(micro_batch, rows - begin), chunk < chunks});
  }
  return passes;
}

}  // namespace train
