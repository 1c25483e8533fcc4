#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "libtrain/ops/dropout.hpp"

// Attention's dropout: the same numbers as DropoutMask (libtrain/ops/dropout.hpp), for the elements
// that the lanes of a warp hold of a block of scores.
namespace train::cuda {

/// Four numbers of a stream; at(i) without an array that is indexed at run time.
struct FourWords {
  unsigned w0, w1, w2, w3;

  __device__ __forceinline__ unsigned at(int i) const {
    const unsigned low = i % 2 == 0 ? w0 : w1, high = i % 2 == 0 ? w2 : w3;
    return i < 2 ? low : high;
  }
};

/// Dropout of one op, by value in a kernel's parameters.
struct AttentionDropout {
  Dropout drawn;
  float scale;

  explicit AttentionDropout(const Dropout& dropout)
      : drawn(dropout), scale(dropout_scale(dropout)) {}

  __device__ __forceinline__ bool active() const { return drawn.active(); }
  __device__ __forceinline__ float factor(unsigned bits) const {
    return dropout_keeps(drawn, bits) ? scale : 0.0f;
  }
  __device__ __forceinline__ FourWords group(std::uint64_t element) const {
    const auto bits = dropout_bits(drawn, element / 4);
    return {bits[0], bits[1], bits[2], bits[3]};
  }
  /// Of one element, at the cost of four.
  __device__ __forceinline__ float factor_at(std::uint64_t element) const {
    return factor(group(element).at(static_cast<int>(element % 4)));
  }
};

/// Factors for a warp's blocks of 16 queries × 8 keys. `first` is the stream's index of (query 0 of
/// the block, key 0 of the block), queries lie `row` apart. Where both are multiples of 4 the lanes
/// share their draws: one for four elements.
__device__ __forceinline__ void query_factors(const AttentionDropout& dropout, std::uint64_t first,
                                              std::uint64_t row, float (&factors)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const std::uint64_t at = first + static_cast<std::uint64_t>(g) * row + 2 * t;
  if ((first | row) % 4 != 0) {
#pragma unroll
    for (int e = 0; e < 4; ++e) factors[e] = dropout.factor_at(at + (e / 2) * 8 * row + e % 2);
    return;
  }
  // Two neighbours hold four keys of rows g and g + 8: each draws for one row.
  const bool odd = t % 2 == 1;
  const FourWords drawn = dropout.group(at + (odd ? 8 * row : 0));
  const unsigned other0 = __shfl_xor_sync(0xffffffffu, odd ? drawn.w0 : drawn.w2, 1);
  const unsigned other1 = __shfl_xor_sync(0xffffffffu, odd ? drawn.w1 : drawn.w3, 1);
  factors[0] = dropout.factor(odd ? other0 : drawn.w0);
  factors[1] = dropout.factor(odd ? other1 : drawn.w1);
  factors[2] = dropout.factor(odd ? drawn.w2 : other0);
  factors[3] = dropout.factor(odd ? drawn.w3 : other1);
}

/// The same for blocks of 16 keys × 8 queries.
__device__ __forceinline__ void key_factors(const AttentionDropout& dropout, std::uint64_t first,
                                            std::uint64_t row, float (&factors)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const std::uint64_t at = first + static_cast<std::uint64_t>(2 * t) * row + g;
  if ((first | row) % 4 != 0) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      factors[e] = dropout.factor_at(at + static_cast<std::uint64_t>(e % 2) * row + (e / 2) * 8);
    }
    return;
  }
  // Four lanes hold four neighbouring keys of four (query, half)s: each draws for one of these and
  // hands the others their words.
  const int mine = g % 4;
  const FourWords drawn = dropout.group(at + static_cast<std::uint64_t>(mine % 2) * row +
                                        static_cast<std::uint64_t>(mine / 2) * 8);
  FourWords got{drawn.at(mine), 0, 0, 0};  // got.at(d): of the lane whose number differs by bits d
  got.w1 = __shfl_xor_sync(0xffffffffu, drawn.at(mine ^ 1), 4);
  got.w2 = __shfl_xor_sync(0xffffffffu, drawn.at(mine ^ 2), 8);
  got.w3 = __shfl_xor_sync(0xffffffffu, drawn.at(mine ^ 3), 12);
#pragma unroll
  for (int e = 0; e < 4; ++e) factors[e] = dropout.factor(got.at(e ^ mine));
}

}  // namespace train::cuda
