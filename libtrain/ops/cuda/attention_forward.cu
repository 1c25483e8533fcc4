#include "libtrain/ops/cuda/attention_dropout.cuh"
#include "libtrain/ops/cuda/attention_forward.hpp"
#include "libtrain/ops/cuda/attention_tile.cuh"
#include "libtrain/tensor/cuda/launch.cuh"

// A block of threads takes some queries of one head, 16 per warp, and goes through the keys that
// these see, tile by tile, with a running maximum and sum (Dao: "FlashAttention-2", 2023, algorithm
// 1). While scores are computed, values are on their way, and while probabilities meet values, the
// next keys.
namespace train::cuda {
namespace {

/// How many queries and keys meet at a time: what shared memory and registers hold.
template <typename T, int width>
struct ForwardTiles {
  static constexpr bool narrow = sizeof(T) == 2;
  static constexpr int queries = narrow || width <= 128 ? 64 : 32;
  static constexpr int keys = narrow ? (width <= 128 ? 64 : 32)
                                     : (width == 64    ? 64
                                        : width == 128 ? 32
                                                       : 16);
  static constexpr int warps = queries / warp_rows;
  static constexpr int threads = 32 * warps;
  static constexpr bool keeps_queries = narrow && width <= 128;
  static constexpr std::size_t shared_bytes =
      Tile<T, width>::bytes(queries + 2 * keys) + warps * staging_bytes<T, keys>();
  static_assert(shared_bytes <= shared_bytes_max);
};

template <typename T, int width>
class ForwardBlock {
  using Tiles = ForwardTiles<T, width>;
  static constexpr int key_blocks = Tiles::keys / block_columns;
  static constexpr int out_blocks = width / block_columns;

 public:
  __device__ __forceinline__ ForwardBlock(const ForwardHeads<T>& heads,
                                          const AttentionDropout& dropout)
      : heads_(heads), dropout_(dropout) {
    const std::int64_t all = static_cast<std::int64_t>(heads.batch) * heads.heads;
    const std::int64_t tiles = (heads.queries + Tiles::queries - 1) / Tiles::queries;
    // Late queries see most keys: the longest work begins first.
    first_ = (tiles - 1 - blockIdx.x / all) * Tiles::queries;
    head_ = static_cast<int>(blockIdx.x % all % heads.heads);
    sequence_ = static_cast<int>(blockIdx.x % all / heads.heads);
    auto* shared = reinterpret_cast<T*>(dynamic_shared());
    query_ = {shared};
    key_ = {shared + Tiles::queries * Tile<T, width>::stride};
    value_ = {key_.data + Tiles::keys * Tile<T, width>::stride};
    staging_ = reinterpret_cast<std::byte*>(value_.data + Tiles::keys * Tile<T, width>::stride) +
               warp_of_block() * staging_bytes<T, Tiles::keys>();
  }

  __device__ __forceinline__ void run() {
    const std::int64_t count = min(std::int64_t{Tiles::queries}, heads_.queries - first_);
    const std::int64_t seen = heads_.position + first_ + count;
    const T* query = heads_.query + sequence_ * heads_.query_sequence +
                     first_ * heads_.query_stride + head_ * heads_.head_width;
    fill_tile<Tiles::queries>(
        query_, Rows<T>{query, heads_.query_stride, count, heads_.head_width, heads_.vectors});
    fetch(key_, heads_.key, 0, seen);
    arrive();
    const LeftRows<T, width, Tiles::keeps_queries> queries(query_, warp_of_block() * warp_rows);
    clear(out_);
    for (std::int64_t first_key = 0; first_key < seen; first_key += Tiles::keys) {
      fetch(value_, heads_.value, first_key, seen);
      float scores[key_blocks][4];
      clear(scores);
      multiply_rows(scores, queries, key_);
      arrive();  // the values are here, and all warps are done with the keys
      if (first_key + Tiles::keys < seen) fetch(key_, heads_.key, first_key + Tiles::keys, seen);
      hide_future(scores, first_key);
      add_probabilities(scores);
      if (dropout_.active()) drop(scores, first_key);
      multiply_sums(out_, scores, value_, 0, staging_);
      arrive();
    }
    write(count);
  }

 private:
  // What the block's threads have fetched is there for all of them.
  __device__ __forceinline__ void arrive() const {
    copies_wait();
    __syncthreads();
  }

  __device__ __forceinline__ void fetch(const Tile<T, width>& tile, const T* rows,
                                        std::int64_t first_key, std::int64_t seen) const {
    const T* from = rows + sequence_ * heads_.key_sequence + first_key * heads_.key_stride +
                    head_ / heads_.group * heads_.head_width;
    fill_tile<Tiles::keys>(tile, Rows<T>{from, heads_.key_stride, seen - first_key,
                                         heads_.head_width, heads_.vectors});
  }

  // Query row `half` of this lane, in the sequence.
  __device__ __forceinline__ std::int64_t query(int half) const {
    return first_ + warp_of_block() * warp_rows + lane_of_warp() / 4 + 8 * half;
  }

  __device__ __forceinline__ void hide_future(float (&scores)[key_blocks][4],
                                              std::int64_t first_key) const {
    const std::int64_t first_query = first_ + warp_of_block() * warp_rows;
    if (first_key + Tiles::keys - 1 <= heads_.position + first_query) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto last = static_cast<int>(
          min(heads_.position + query(half) - first_key, std::int64_t{Tiles::keys}));
#pragma unroll
      for (int n = 0; n < key_blocks; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int key = n * block_columns + lane_of_warp() % 4 * 2 + e;
          if (key > last) scores[n][2 * half + e] = -INFINITY;
        }
      }
    }
  }

  // Scores become exp(score - maximum), and sums so far move to the new maximum.
  __device__ __forceinline__ void add_probabilities(float (&scores)[key_blocks][4]) {
    const float scale = log2_e * rsqrtf(static_cast<float>(heads_.head_width));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = highest_[half];
#pragma unroll
      for (int n = 0; n < key_blocks; ++n) {
        top = fmaxf(top, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float shrink = exp2f((highest_[half] - top) * scale);
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < key_blocks; ++n) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[n][e] = exp2f((scores[n][e] - top) * scale);
          sum += scores[n][e];
        }
      }
      highest_[half] = top;
      total_[half] = total_[half] * shrink + sum;
#pragma unroll
      for (int n = 0; n < out_blocks; ++n) {
        out_[n][2 * half] *= shrink;
        out_[n][2 * half + 1] *= shrink;
      }
    }
  }

  __device__ __forceinline__ void drop(float (&scores)[key_blocks][4],
                                       std::int64_t first_key) const {
    const std::int64_t head = static_cast<std::int64_t>(sequence_) * heads_.all_heads + head_;
    const std::int64_t row = head * heads_.queries + first_ + warp_of_block() * warp_rows;
    const auto first =
        dropout_.drawn.first_index + static_cast<std::uint64_t>(row * heads_.queries + first_key);
#pragma unroll
    for (int n = 0; n < key_blocks; ++n) {
      float factors[4];
      query_factors(dropout_, first + n * block_columns, static_cast<std::uint64_t>(heads_.queries),
                    factors);
#pragma unroll
      for (int e = 0; e < 4; ++e) scores[n][e] *= factors[e];
    }
  }

  __device__ __forceinline__ void write(std::int64_t count) {
    float factor[2];
    const std::int64_t head = static_cast<std::int64_t>(sequence_) * heads_.heads + head_;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = total_[half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      factor[half] = 1.0f / total;
      if (heads_.lse != nullptr && lane_of_warp() % 4 == 0 && query(half) < heads_.queries) {
        heads_.lse[head * heads_.queries + query(half)] =
            highest_[half] * rsqrtf(static_cast<float>(heads_.head_width)) + logf(total);
      }
    }
    const int first_row = warp_of_block() * warp_rows;
    T* to = heads_.out + sequence_ * heads_.out_sequence +
            (first_ + first_row) * heads_.out_stride + head_ * heads_.head_width;
    write_rows(out_, factor, to, heads_.out_stride, count - first_row, 0, heads_.head_width,
               heads_.vectors);
  }

  const ForwardHeads<T>& heads_;
  const AttentionDropout& dropout_;
  std::int64_t first_;  // query of the block
  int head_, sequence_;
  Tile<T, width> query_, key_, value_;
  std::byte* staging_;
  float out_[out_blocks][4];
  float highest_[2] = {-INFINITY, -INFINITY};  // of this lane's two rows
  float total_[2] = {0.0f, 0.0f};              // this lane's part of their sums
};

template <typename T, int width>
__global__ void __launch_bounds__(ForwardTiles<T, width>::threads)
    attention_forward_kernel(const __grid_constant__ ForwardHeads<T> heads,
                             const __grid_constant__ AttentionDropout dropout) {
  ForwardBlock<T, width>(heads, dropout).run();
}

}  // namespace

template <typename T>
void attention_forward(const ForwardHeads<T>& heads, const Dropout& dropout, const Stream& stream) {
  const AttentionDropout mask(dropout);
  with_padded_width(heads.head_width, [&]<int width>() {
    using Tiles = ForwardTiles<T, width>;
    const std::int64_t tiles = (heads.queries + Tiles::queries - 1) / Tiles::queries;
    LaunchShape shape;
    shape.grid = dim3(static_cast<unsigned>(tiles * heads.batch * heads.heads));
    shape.block = dim3(Tiles::threads);
    shape.shared_bytes = Tiles::shared_bytes;
    launch(attention_forward_kernel<T, width>, shape, stream, heads, mask);
  });
}

template void attention_forward(const ForwardHeads<float>&, const Dropout&, const Stream&);
template void attention_forward(const ForwardHeads<BFloat16>&, const Dropout&, const Stream&);

}  // namespace train::cuda
