#pragma once

#include <cstdint>

#include "libtrain/ops/cuda/mma.cuh"
#include "libtrain/ops/cuda/pack.cuh"

// Products of tiles in shared memory, for attention. A warp owns 16 rows of a result, in blocks of
// 8 columns; with g = lane / 4 and t = lane % 4, a lane holds of each block rows g, g + 8 and
// columns 2t, 2t + 1, as tensor cores have it. bf16 goes through these, f32 through plain fused
// multiply-adds with the same lanes, so that all else of a kernel is one source.
namespace train::cuda {

/// log2(e): exponentials are powers of two, which is what the hardware has.
inline constexpr float log2_e = 1.4426950408889634f;

/// What a block may have of shared memory on every GPU from compute capability 8.0 on.
inline constexpr std::size_t shared_bytes_max = 99 * 1024;

inline constexpr int warp_rows = 16;
inline constexpr int block_columns = 8;

__device__ __forceinline__ int lane_of_warp() {
  return static_cast<int>(threadIdx.x) % 32;
}
__device__ __forceinline__ int warp_of_block() {
  return static_cast<int>(threadIdx.x) / 32;
}

/// Results of a warp: element e of a block lies in row g + 8 (e / 2) and column 2t + e % 2.
template <int blocks>
using Sums = float[blocks][4];

template <int blocks>
__device__ __forceinline__ void clear(float (&sums)[blocks][4]) {
#pragma unroll
  for (int n = 0; n < blocks; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[n][e] = 0.0f;
  }
}

/// Rows of `width` elements in shared memory, in chunks of 16 bytes. Where eight lanes read the
/// same chunk of eight rows, they find it in all 32 banks: bf16 swaps chunks by row, f32 pads rows.
template <typename T, int width>
struct Tile {
  static constexpr int chunk = 16 / sizeof(T);
  static constexpr int chunks = width / chunk;
  static constexpr bool narrow = sizeof(T) == 2;
  static constexpr int stride = narrow ? width : width + chunk;
  __host__ __device__ static constexpr std::size_t bytes(int rows) {
    return std::size_t(rows) * stride * sizeof(T);
  }

  T* data;

  __device__ __forceinline__ T* at(int row, int c) const {
    return data + row * stride + (narrow ? c ^ (row & 7) : c) * chunk;
  }
};

/// Where rows lie in global memory: `used` elements each.
template <typename T>
struct Rows {
  const T* data;
  std::int64_t stride;
  std::int64_t count;  ///< rows from here on that exist
  int used;
  bool vectors;  ///< chunks are aligned, and `used` is a multiple of theirs
};

/// Starts to fill a tile's `rows`, zeros where there is nothing; seen by the block after
/// copies_wait() and __syncthreads().
template <int rows, typename T, int width>
__device__ __forceinline__ void fill_tile(const Tile<T, width>& tile, const Rows<T>& from) {
  constexpr int chunk = Tile<T, width>::chunk, chunks = Tile<T, width>::chunks;
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunks;
       i += static_cast<int>(blockDim.x)) {
    const int row = i / chunks, c = i % chunks;
    T* to = tile.at(row, c);
    const bool there = row < from.count && c * chunk < from.used;
    const T* source = from.data + (there ? row * from.stride + c * chunk : 0);
    if (from.vectors) {
      copy_async(to, source, there);
    } else {
#pragma unroll
      for (int e = 0; e < chunk; ++e) {
        to[e] = there && c * chunk + e < from.used ? source[e] : from_float<T>(0.0f);
      }
    }
  }
}

/// A warp's 16 rows of a tile as the left factor of many products; `kept` in registers or read
/// anew.
template <typename T, int width, bool kept>
class LeftRows;

template <int width, bool kept>
class LeftRows<BFloat16, width, kept> {
 public:
  static constexpr int steps = width / 16;

  __device__ __forceinline__ LeftRows(const Tile<BFloat16, width>& tile, int first)
      : tile_(tile), row_(first + lane_of_warp() % 16) {
    if constexpr (kept) {
#pragma unroll
      for (int step = 0; step < steps; ++step) fragments_[step] = load(step);
    }
  }
  __device__ __forceinline__ Fragment at(int step) const {
    if constexpr (kept) return fragments_[step];
    return load(step);
  }

 private:
  __device__ __forceinline__ Fragment load(int step) const {
    return load_matrices(tile_.at(row_, step * 2 + lane_of_warp() / 16));
  }

  Tile<BFloat16, width> tile_;
  int row_;
  Fragment fragments_[kept ? steps : 1];
};

template <int width, bool kept>
class LeftRows<float, width, kept> {
 public:
  __device__ __forceinline__ LeftRows(const Tile<float, width>& tile, int first)
      : tile_(tile), row_(first + lane_of_warp() / 4) {}
  __device__ __forceinline__ float4 at(int c, int half) const {
    return *reinterpret_cast<const float4*>(tile_.at(row_ + 8 * half, c));
  }

 private:
  Tile<float, width> tile_;
  int row_;
};

/// sums[16, 8·blocks] += left[16, width] · rightᵀ, for the first 8·blocks rows of `right`.
template <int blocks, int width, bool kept>
__device__ __forceinline__ void multiply_rows(float (&sums)[blocks][4],
                                              const LeftRows<BFloat16, width, kept>& left,
                                              const Tile<BFloat16, width>& right) {
  const int lane = lane_of_warp();
  const int row = lane / 16 * 8 + lane % 8, half = lane / 8 % 2;
#pragma unroll
  for (int step = 0; step < width / 16; ++step) {
    const Fragment a = left.at(step);
#pragma unroll
    for (int n = 0; n < blocks; n += 2) {
      const Fragment b = load_matrices(right.at(n * block_columns + row, step * 2 + half));
      multiply_add(sums[n], a, b.at[0], b.at[1]);
      multiply_add(sums[n + 1], a, b.at[2], b.at[3]);
    }
  }
}

__device__ __forceinline__ float add_product(float sum, const float4& a, const float4& b) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

template <int blocks, int width, bool kept>
__device__ __forceinline__ void multiply_rows(float (&sums)[blocks][4],
                                              const LeftRows<float, width, kept>& left,
                                              const Tile<float, width>& right) {
  const int row = lane_of_warp() % 4 * 2;
#pragma unroll 2
  for (int c = 0; c < Tile<float, width>::chunks; ++c) {
    const float4 a0 = left.at(c, 0), a1 = left.at(c, 1);
#pragma unroll
    for (int n = 0; n < blocks; ++n) {
      const auto b = [&](int i) {
        return *reinterpret_cast<const float4*>(right.at(n * block_columns + row + i, c));
      };
      const float4 b0 = b(0), b1 = b(1);
      sums[n][0] = add_product(sums[n][0], a0, b0);
      sums[n][1] = add_product(sums[n][1], a0, b1);
      sums[n][2] = add_product(sums[n][2], a1, b0);
      sums[n][3] = add_product(sums[n][3], a1, b1);
    }
  }
}

/// Shared memory through which a warp's f32 results become a left factor; bf16 needs none.
template <typename T, int columns>
__host__ __device__ constexpr std::size_t staging_bytes() {
  return sizeof(T) == 2 ? 0 : Tile<float, columns>::bytes(warp_rows);
}

/// sums[16, 8·blocks] += left[16, 8·inner] · right[8·inner, …], for columns of `right` from
/// `first_block` · 8 on. `left` are results of this warp, rounded to T.
template <int blocks, int inner, int width>
__device__ __forceinline__ void multiply_sums(float (&sums)[blocks][4],
                                              const float (&left)[inner][4],
                                              const Tile<BFloat16, width>& right, int first_block,
                                              std::byte* /*staging*/) {
  const int lane = lane_of_warp();
#pragma unroll
  for (int step = 0; step < inner / 2; ++step) {
    const float(&p)[4] = left[2 * step];
    const float(&q)[4] = left[2 * step + 1];
    const Fragment a{{pack_bf16(p[0], p[1]), pack_bf16(p[2], p[3]), pack_bf16(q[0], q[1]),
                      pack_bf16(q[2], q[3])}};
#pragma unroll
    for (int n = 0; n < blocks; n += 2) {
      const Fragment b =
          load_matrices_transposed(right.at(step * 16 + lane % 16, first_block + n + lane / 16));
      multiply_add(sums[n], a, b.at[0], b.at[1]);
      multiply_add(sums[n + 1], a, b.at[2], b.at[3]);
    }
  }
}

template <int blocks, int inner, int width>
__device__ __forceinline__ void multiply_sums(float (&sums)[blocks][4],
                                              const float (&left)[inner][4],
                                              const Tile<float, width>& right, int first_block,
                                              std::byte* staging) {
  using Staged = Tile<float, inner * block_columns>;
  const Staged staged{reinterpret_cast<float*>(staging)};
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
  __syncwarp();  // the warp is done with what it staged before
#pragma unroll
  for (int n = 0; n < inner; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      staged.data[(g + e / 2 * 8) * Staged::stride + n * block_columns + 2 * t + e % 2] =
          left[n][e];
    }
  }
  __syncwarp();
#pragma unroll 2
  for (int c = 0; c < Staged::chunks; ++c) {
    const float4 a0 = *reinterpret_cast<const float4*>(staged.at(g, c));
    const float4 a1 = *reinterpret_cast<const float4*>(staged.at(g + 8, c));
    const float upper[4] = {a0.x, a0.y, a0.z, a0.w}, lower[4] = {a1.x, a1.y, a1.z, a1.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float* row = right.data + (c * 4 + j) * Tile<float, width>::stride +
                         first_block * block_columns + 2 * t;
#pragma unroll
      for (int n = 0; n < blocks; ++n) {
        const float2 b = *reinterpret_cast<const float2*>(row + n * block_columns);
        sums[n][0] = fmaf(upper[j], b.x, sums[n][0]);
        sums[n][1] = fmaf(upper[j], b.y, sums[n][1]);
        sums[n][2] = fmaf(lower[j], b.x, sums[n][2]);
        sums[n][3] = fmaf(lower[j], b.y, sums[n][3]);
      }
    }
  }
}

/// Writes a warp's sums, times the factor of each half's row, to the rows' first `used` elements.
/// `to` is row 0 of the warp; rows from `count` on do not exist.
template <int blocks, typename T>
__device__ __forceinline__ void write_rows(const float (&sums)[blocks][4], const float (&factor)[2],
                                           T* to, std::int64_t stride, std::int64_t count,
                                           int first_column, int used, bool vectors) {
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (g + 8 * half >= count) continue;
    T* row = to + (g + 8 * half) * stride;
#pragma unroll
    for (int n = 0; n < blocks; ++n) {
      const int column = first_column + n * block_columns + 2 * t;
      const float a = sums[n][2 * half] * factor[half], b = sums[n][2 * half + 1] * factor[half];
      if (vectors) {
        if (column < used) store<2>(row + column, Pack<2>{{a, b}});
      } else {
        if (column < used) row[column] = from_float<T>(a);
        if (column + 1 < used) row[column + 1] = from_float<T>(b);
      }
    }
  }
}

/// Calls start with the padded head width as a template's argument.
template <typename Start>
void with_padded_width(int head_width, const Start& start) {
  if (head_width <= 64) {
    start.template operator()<64>();
  } else if (head_width <= 128) {
    start.template operator()<128>();
  } else {
    start.template operator()<256>();
  }
}

}  // namespace train::cuda
