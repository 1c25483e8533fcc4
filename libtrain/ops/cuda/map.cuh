#pragma once

#include <algorithm>
#include <cstdint>

#include "libtrain/ops/cuda/pack.cuh"
#include "libtrain/tensor/cuda/launch.cuh"

// Elementwise kernels: op.template apply<n>(first) handles n elements from `first` on.
namespace train::cuda {

inline constexpr int map_threads = 256;
inline constexpr int map_blocks_per_multiprocessor = 8;  // 2048 threads, all that one holds

/// Calls op.template apply<n> for the packs from `first` on, `step` apart, that end by `end`. The
/// one thread at which the end falls has what no pack holds.
template <int n, typename Op>
__device__ __forceinline__ void visit_packs(Op& op, std::int64_t first, std::int64_t end,
                                            std::int64_t step) {
  for (; first + n <= end; first += step) op.template apply<n>(first);
  if constexpr (n > 1) {
    for (; first < end; ++first) op.template apply<1>(first);
  }
}

template <int n, typename Op>
__global__ void __launch_bounds__(map_threads) map_kernel(Op op, std::int64_t count) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * n;
  visit_packs<n>(op, first, count, std::int64_t{gridDim.x} * blockDim.x * n);
}

/// Applies `op` to `count` elements; in packs when the addresses that it uses allow it.
template <typename Op>
void map(const Op& op, std::int64_t count, bool packs, int multiprocessors, const Stream& stream) {
  const std::int64_t per_block = map_threads * (packs ? pack_size : 1);
  const std::int64_t blocks =
      std::min<std::int64_t>((count + per_block - 1) / per_block,
                             std::int64_t{multiprocessors} * map_blocks_per_multiprocessor);
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(blocks));
  shape.block = dim3(map_threads);
  launch(packs ? map_kernel<pack_size, Op> : map_kernel<1, Op>, shape, stream, op, count);
}

}  // namespace train::cuda
