#pragma once

#include <cstdint>
#include <vector>

#include "libtrain/ops/cuda/map.cuh"

// Kernels over many tensors in one launch. Each block works on a piece of one tensor, which it
// finds in a table of the kernel's `Part`s: these have a `count` of elements, whether `packs` may
// be loaded, and a `first_block`.
namespace train::cuda {

/// Elements that one block works on, whatever the GPU: the order of sums is the counts' alone.
inline constexpr std::int64_t part_elements = 16384;

/// Gives every part its blocks; returns how many there are in all.
template <typename Part>
std::int64_t number_blocks(std::vector<Part>& parts) {
  std::int64_t blocks = 0;
  for (Part& part : parts) {
    part.first_block = blocks;
    blocks += (part.count + part_elements - 1) / part_elements;
  }
  return blocks;
}

/// This block's part: the last that begins at or before it. Empty parts begin where the next does.
template <typename Part>
__device__ __forceinline__ const Part& part_of_block(const Part* parts, int count) {
  int low = 0, high = count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (parts[middle].first_block <= std::int64_t{blockIdx.x}) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return parts[low];
}

/// Calls visit.template apply<n>(first) for this thread's elements of the block's piece.
template <typename Part, typename Visit>
__device__ __forceinline__ void visit_part(const Part& part, Visit& visit) {
  const std::int64_t begin = (std::int64_t{blockIdx.x} - part.first_block) * part_elements;
  const std::int64_t end = min(begin + part_elements, part.count);
  if (part.packs) {
    visit_packs<pack_size>(visit, begin + threadIdx.x * pack_size, end, map_threads * pack_size);
  } else {
    visit_packs<1>(visit, begin + threadIdx.x, end, map_threads);
  }
}

}  // namespace train::cuda
