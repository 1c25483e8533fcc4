#pragma once

#include "libtrain/ops/cuda/attention_dropout.cuh"
#include "libtrain/ops/cuda/attention_tile.cuh"
#include "libtrain/tensor/cuda/launch.cuh"

// What attention's two backward kernels share. Both compute the probabilities again from the scores
// and their log-sum-exp (Dao: "FlashAttention-2", 2023, algorithm 2). One kernel goes by keys and
// makes dkey and dvalue, the other by queries and makes dquery: 7 products instead of 5, for which
// no two blocks add to one gradient, and equal calls give equal bits.
namespace train::cuda {

/// How many rows a block of threads owns (16 per warp) and how many of the others it meets at a
/// time. With split 2, two warps share 16 rows: each computes their scores and sums half of the
/// columns.
template <typename T, int width>
struct BackwardTiles {
  static constexpr bool narrow = sizeof(T) == 2;
  static constexpr int rows = narrow || width == 64 ? 64 : width == 128 ? 32 : 16;
  static constexpr int others = narrow && width == 64 ? 64 : narrow || width <= 128 ? 32 : 16;
  static constexpr int split = width == 256 ? 2 : 1;
  static constexpr int stages = narrow && width <= 128 ? 2 : 1;  // tiles of others, to fetch ahead
  static constexpr int warps = rows / warp_rows * split;
  static constexpr int threads = 32 * warps;
  static constexpr int sum_blocks = width / block_columns / split;
  static constexpr int other_blocks = others / block_columns;
  static constexpr std::size_t tile_bytes = Tile<T, width>::bytes(rows);
  static constexpr std::size_t other_bytes = Tile<T, width>::bytes(others);
  static constexpr std::size_t staging = staging_bytes<T, others>();
  static constexpr std::size_t statistics_bytes = 2 * others * sizeof(float);
  static constexpr std::size_t shared_bytes =
      2 * tile_bytes + stages * (2 * other_bytes + statistics_bytes) + warps * staging;
  static_assert(shared_bytes <= shared_bytes_max);
};

/// Where the heads lie. Strides are in elements; rows of dqkv are like qkv's, of dout like out's.
template <typename T>
struct BackwardHeads {
  const T* qkv;
  const T* dout;
  T* dqkv;
  const float* lse;    ///< [batch, heads, context]
  const float* delta;  ///< the same: sums over a head's dout · out
  std::int64_t context;
  int batch, heads, kv_heads, head_width;
  int all_heads;  ///< that dropout counts
  bool vectors;

  __device__ __forceinline__ std::int64_t qkv_stride() const {
    return static_cast<std::int64_t>(heads + 2 * kv_heads) * head_width;
  }
  __device__ __forceinline__ std::int64_t out_stride() const {
    return static_cast<std::int64_t>(heads) * head_width;
  }
  /// Row `first` of column block `head` (queries, then keys, then values).
  __device__ __forceinline__ std::int64_t qkv_at(int sequence, std::int64_t first, int head) const {
    return (sequence * context + first) * qkv_stride() +
           static_cast<std::int64_t>(head) * head_width;
  }
  __device__ __forceinline__ Rows<T> qkv_rows(int sequence, std::int64_t first, int head) const {
    return {qkv + qkv_at(sequence, first, head), qkv_stride(), context - first, head_width,
            vectors};
  }
  __device__ __forceinline__ Rows<T> dout_rows(int sequence, std::int64_t first, int head) const {
    const T* from = dout + (sequence * context + first) * out_stride() +
                    static_cast<std::int64_t>(head) * head_width;
    return {from, out_stride(), context - first, head_width, vectors};
  }
  __device__ __forceinline__ std::int64_t statistic_at(int sequence, int head) const {
    return (static_cast<std::int64_t>(sequence) * heads + head) * context;
  }
  /// dropout's index of query 0 and key 0.
  __device__ __forceinline__ std::uint64_t mask_at(const AttentionDropout& dropout, int sequence,
                                                   int head) const {
    const std::int64_t before = static_cast<std::int64_t>(sequence) * all_heads + head;
    return dropout.drawn.first_index + static_cast<std::uint64_t>(before * context * context);
  }
  __device__ __forceinline__ float scale() const { return rsqrtf(static_cast<float>(head_width)); }
};

/// dkey and dvalue.
template <typename T>
void launch_backward_by_keys(const BackwardHeads<T>& heads, const AttentionDropout& dropout,
                             const Stream& stream);
/// dquery.
template <typename T>
void launch_backward_by_queries(const BackwardHeads<T>& heads, const AttentionDropout& dropout,
                                const Stream& stream);

}  // namespace train::cuda
