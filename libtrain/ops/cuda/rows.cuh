#pragma once

#include <algorithm>
#include <cstdint>

#include "libtrain/ops/cuda/pack.cuh"
#include "libtrain/tensor/cuda/launch.cuh"

// Kernels with one block per row: how many threads it has, and how they add up. Trees of fixed
// shape: the same bits each time.
namespace train::cuda {

inline constexpr int warp_lanes = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;
inline constexpr int row_threads_max = 256;

/// One pack per thread where the row has no more of them than a block has threads.
inline int row_threads(std::int64_t width, bool packs) {
  const std::int64_t items = packs ? (width + pack_size - 1) / pack_size : width;
  const std::int64_t warps = (items + warp_lanes - 1) / warp_lanes;
  return static_cast<int>(
      std::clamp<std::int64_t>(warps * warp_lanes, warp_lanes, row_threads_max));
}

inline LaunchShape row_shape(std::int64_t rows, std::int64_t width, bool packs) {
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(rows));
  shape.block = dim3(static_cast<unsigned>(row_threads(width, packs)));
  return shape;
}

/// Rows of this width begin where packs may.
inline bool row_packs_fit(std::int64_t width, std::initializer_list<const Tensor*> tensors) {
  return width % pack_size == 0 && packs_fit(tensors);
}

/// Every row of these tensors, which may have gaps, begins where packs may and has room for its
/// last pack, whatever its width.
inline bool padded_packs_fit(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    if (tensor->defined() && (tensor->row_stride() % pack_size != 0 ||
                              reinterpret_cast<std::uintptr_t>(tensor->rows_raw()) % 16 != 0)) {
      return false;
    }
  }
  return true;
}

/// A matrix in a kernel, whose rows may have gaps. Not defined where the tensor is not.
class Rows {
 public:
  Rows() = default;
  explicit Rows(const Tensor& tensor)
      : values_(Values::of_rows(tensor)), stride_(tensor.row_stride()) {}

  __host__ __device__ bool defined() const { return values_.defined(); }
  __device__ __forceinline__ Values operator[](std::int64_t row) const {
    return values_.from(row * stride_);
  }

 private:
  Values values_;
  std::int64_t stride_ = 0;
};

__device__ __forceinline__ float shuffle_xor(float value, int distance) {
  return __shfl_xor_sync(all_lanes, value, distance);
}
__device__ __forceinline__ double shuffle_xor(double value, int distance) {
  return __shfl_xor_sync(all_lanes, value, distance);
}
__device__ __forceinline__ float2 shuffle_xor(float2 value, int distance) {
  return make_float2(__shfl_xor_sync(all_lanes, value.x, distance),
                     __shfl_xor_sync(all_lanes, value.y, distance));
}

/// Combines what the warp's lanes hold; every lane gets the result.
template <typename T, typename Combine>
__device__ __forceinline__ T combine_warp(T value, Combine combine) {
#pragma unroll
  for (int distance = warp_lanes / 2; distance > 0; distance /= 2) {
    value = combine(value, shuffle_xor(value, distance));
  }
  return value;
}

/// Combines what the block's threads hold: combine(a, b) for values of type T, of at most 64 bytes.
/// Every thread gets the result. `room` holds a value per warp; it may be used again for the next
/// call.
template <typename T, typename Combine>
__device__ __forceinline__ T combine_block(T value, T* room, Combine combine) {
  value = combine_warp(value, combine);
  const int warps = static_cast<int>(blockDim.x) / warp_lanes;
  if (warps == 1) return value;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % warp_lanes == 0) room[thread / warp_lanes] = value;
  __syncthreads();
  if (warps == warp_lanes) {
    value = combine_warp(room[thread % warp_lanes], combine);
  } else {
    value = room[0];
    for (int i = 1; i < warps; ++i) value = combine(value, room[i]);
  }
  __syncthreads();
  return value;
}

struct Plus {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
  __device__ __forceinline__ float2 operator()(float2 a, float2 b) const {
    return make_float2(a.x + b.x, a.y + b.y);
  }
};

inline constexpr int warps_max = 32;

}  // namespace train::cuda
