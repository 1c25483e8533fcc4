#include "libtrain/checkpoint/read_plan.hpp"

#include <algorithm>

#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

Block relative_to(Block block, const Block& base) {
  for (int i = 0; i < block.extent.rank(); ++i) block.offset[i] -= base.offset[i];
  return block;
}

// Both blocks keep their elements row-major, so the runs of what they share come in the same order
// in both.
void add_shared_runs(const Block& stored, const Block& wanted, std::uint64_t wanted_begin,
                     std::size_t element_bytes, std::vector<SharedRun>& runs) {
  const Block common = intersection(stored, wanted);
  if (common.elements() == 0) return;
  const std::size_t first_run = runs.size();
  for_each_run(
      wanted.extent, relative_to(common, wanted), [&](std::int64_t first, std::int64_t count) {
        runs.push_back({0, wanted_begin + static_cast<std::uint64_t>(first) * element_bytes,
                        static_cast<std::uint64_t>(count) * element_bytes});
      });
  std::size_t i = first_run;
  for_each_run(stored.extent, relative_to(common, stored), [&](std::int64_t first, std::int64_t) {
    runs[i++].stored = static_cast<std::uint64_t>(first) * element_bytes;
  });
}

// Neighbours in both become one.
void join(std::vector<SharedRun>& runs) {
  std::size_t kept = 0;
  for (const SharedRun& run : runs) {
    if (kept > 0 && runs[kept - 1].stored + runs[kept - 1].bytes == run.stored &&
        runs[kept - 1].wanted + runs[kept - 1].bytes == run.wanted) {
      runs[kept - 1].bytes += run.bytes;
    } else {
      runs[kept++] = run;
    }
  }
  runs.resize(kept);
}

}  // namespace

std::vector<PieceToRead> plan_pieces(const Block& stored, std::span<const Block> wanted,
                                     std::size_t element_bytes, std::uint64_t piece_bytes) {
  std::vector<SharedRun> runs;
  std::uint64_t begin = 0;
  for (const Block& block : wanted) {
    add_shared_runs(stored, block, begin, element_bytes, runs);
    begin += static_cast<std::uint64_t>(block.elements()) * element_bytes;
  }
  join(runs);
  std::vector<PieceToRead> pieces;
  for (SharedRun run : runs) {
    while (run.bytes > 0) {
      const std::uint64_t index = run.stored / piece_bytes;
      const std::uint64_t now = std::min(run.bytes, (index + 1) * piece_bytes - run.stored);
      if (pieces.empty() || pieces.back().index != index) pieces.push_back({index, {}});
      pieces.back().runs.push_back({run.stored, run.wanted, now});
      run = {run.stored + now, run.wanted + now, run.bytes - now};
    }
  }
  // Blocks of one range follow each other in the stored one too; others may come back to a piece.
  std::ranges::stable_sort(pieces, {}, &PieceToRead::index);
  std::size_t kept = 0;
  for (PieceToRead& piece : pieces) {
    if (kept > 0 && pieces[kept - 1].index == piece.index) {
      auto& runs_before = pieces[kept - 1].runs;
      runs_before.insert(runs_before.end(), piece.runs.begin(), piece.runs.end());
    } else if (&pieces[kept++] != &piece) {
      pieces[kept - 1] = std::move(piece);
    }
  }
  pieces.resize(kept);
  return pieces;
}

}  // namespace train
