#pragma once

#include <cstdint>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {

/// Adds `groups` rows of f32, `stride` apart, in their order, into a gradient of one row.
struct SumGroups {
  const float* sums;
  std::int64_t groups, stride;
  GradientValues out;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> total{};
    for (std::int64_t group = 0; group < groups; ++group) {
      const float* part = sums + group * stride + first;
#pragma unroll
      for (int i = 0; i < n; ++i) total.at[i] += part[i];
    }
    out.store<n>(first, total);
  }
};

/// Few columns and many groups: one element per thread, for as many threads as there are.
inline void sum_groups(const float* sums, std::int64_t groups, std::int64_t stride,
                       const Gradient& out, int multiprocessors, const Stream& stream) {
  if (!out.tensor.defined()) return;
  map(SumGroups{sums, groups, stride, GradientValues(out)}, out.tensor.elements(), false,
      multiprocessors, stream);
}

}  // namespace train::cuda
