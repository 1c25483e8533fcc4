#include "libtrain/ops/cuda/attention_backward.cuh"

namespace train::cuda {
namespace {

// Some keys of one key/value head, and all queries that see them, head by head of its group.
// Everything is transposed: a warp's rows are keys, so that probabilities are where the product
// with dout wants its left factor.
template <typename T, int width>
class KeyBlock {
  using Tiles = BackwardTiles<T, width>;
  static constexpr int blocks = Tiles::other_blocks;

 public:
  __device__ __forceinline__ KeyBlock(const BackwardHeads<T>& heads,
                                      const AttentionDropout& dropout)
      : heads_(heads), dropout_(dropout) {
    const std::int64_t all = static_cast<std::int64_t>(heads.batch) * heads.kv_heads;
    // Early keys are seen by most queries: the longest work begins first.
    first_ = blockIdx.x / all * Tiles::rows;
    sequence_ = static_cast<int>(blockIdx.x % all / heads.kv_heads);
    kv_head_ = static_cast<int>(blockIdx.x % all % heads.kv_heads);
    std::byte* shared = dynamic_shared();
    const auto take = [&](std::size_t bytes) {
      std::byte* taken = shared;
      shared += bytes;
      return taken;
    };
    key_ = {reinterpret_cast<T*>(take(Tiles::tile_bytes))};
    value_ = {reinterpret_cast<T*>(take(Tiles::tile_bytes))};
    stages_ = take(Tiles::stages * stage_bytes);
    staging_ = shared + warp_of_block() * Tiles::staging;
    row_ = warp_of_block() / Tiles::split * warp_rows;
    column_block_ = warp_of_block() % Tiles::split * Tiles::sum_blocks;
  }

  __device__ __forceinline__ void run() {
    fill_tile<Tiles::rows>(key_, heads_.qkv_rows(sequence_, first_, heads_.heads + kv_head_));
    fill_tile<Tiles::rows>(
        value_, heads_.qkv_rows(sequence_, first_, heads_.heads + heads_.kv_heads + kv_head_));
    clear(dkey_);
    clear(dvalue_);
    const int group = heads_.heads / heads_.kv_heads;
    per_head_ = (heads_.context - first_ + Tiles::others - 1) / Tiles::others;
    const std::int64_t steps = group * per_head_;
    if (Tiles::stages == 2) fetch(0);
    for (std::int64_t step = 0; step < steps; ++step) {
      if (Tiles::stages == 1) {
        __syncthreads();  // all warps are done with the step before
        fetch(step);
      }
      copies_wait();
      __syncthreads();
      if (Tiles::stages == 2 && step + 1 < steps) fetch(step + 1);
      add(step);
    }
    write(dkey_, heads_.heads + kv_head_, heads_.scale());
    write(dvalue_, heads_.heads + heads_.kv_heads + kv_head_, 1.0f);
  }

 private:
  static constexpr std::size_t stage_bytes = 2 * Tiles::other_bytes + Tiles::statistics_bytes;

  // What a step needs of its queries.
  struct Stage {
    Tile<T, width> query, dout;
    float *lse, *delta;
  };
  __device__ __forceinline__ Stage stage(std::int64_t step) const {
    std::byte* at = stages_ + step % Tiles::stages * stage_bytes;
    auto* statistics = reinterpret_cast<float*>(at + 2 * Tiles::other_bytes);
    return {{reinterpret_cast<T*>(at)},
            {reinterpret_cast<T*>(at + Tiles::other_bytes)},
            statistics,
            statistics + Tiles::others};
  }
  __device__ __forceinline__ int head(std::int64_t step) const {
    return kv_head_ * (heads_.heads / heads_.kv_heads) + static_cast<int>(step / per_head_);
  }
  __device__ __forceinline__ std::int64_t first_query(std::int64_t step) const {
    return first_ + step % per_head_ * Tiles::others;
  }

  __device__ __forceinline__ void fetch(std::int64_t step) const {
    const Stage to = stage(step);
    const std::int64_t first = first_query(step);
    fill_tile<Tiles::others>(to.query, heads_.qkv_rows(sequence_, first, head(step)));
    fill_tile<Tiles::others>(to.dout, heads_.dout_rows(sequence_, first, head(step)));
    const std::int64_t from = heads_.statistic_at(sequence_, head(step)) + first;
    for (int i = static_cast<int>(threadIdx.x); i < Tiles::others; i += Tiles::threads) {
      const bool there = first + i < heads_.context;
      to.lse[i] = there ? heads_.lse[from + i] * log2_e : 0.0f;
      to.delta[i] = there ? heads_.delta[from + i] : 0.0f;
    }
  }

  // dvalue += pᵀ dout, dkey += dsᵀ query.
  __device__ __forceinline__ void add(std::int64_t step) {
    const Stage at = stage(step);
    float scores[blocks][4], dscores[blocks][4];
    clear(scores);
    multiply_rows(scores, LeftRows<T, width, false>(key_, row_), at.query);
    clear(dscores);
    multiply_rows(dscores, LeftRows<T, width, false>(value_, row_), at.dout);
    differentiate(scores, dscores, at, step);
    multiply_sums(dvalue_, scores, at.dout, column_block_, staging_);
    multiply_sums(dkey_, dscores, at.query, column_block_, staging_);
  }

  // Scores become probabilities as they met the values, dprobabilities become dscores p (dp -
  // delta).
  __device__ __forceinline__ void differentiate(float (&scores)[blocks][4],
                                                float (&dscores)[blocks][4], const Stage& at,
                                                std::int64_t step) const {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
    const float scale = heads_.scale() * log2_e;
    const auto ahead = static_cast<int>(first_query(step) - first_);  // of query 0 before key 0
    const auto row = static_cast<std::uint64_t>(heads_.context);
    const std::uint64_t mask = heads_.mask_at(dropout_, sequence_, head(step)) +
                               static_cast<std::uint64_t>(first_query(step)) * row +
                               static_cast<std::uint64_t>(first_ + row_);
#pragma unroll
    for (int n = 0; n < blocks; ++n) {
      float factors[4] = {1.0f, 1.0f, 1.0f, 1.0f};
      if (dropout_.active()) key_factors(dropout_, mask + n * block_columns * row, row, factors);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int query = n * block_columns + 2 * t + e % 2;
        const bool sees = ahead + query >= row_ + g + e / 2 * 8;
        const float p = sees ? exp2f(scores[n][e] * scale - at.lse[query]) : 0.0f;
        scores[n][e] = p * factors[e];
        dscores[n][e] = p * (dscores[n][e] * factors[e] - at.delta[query]);
      }
    }
  }

  __device__ __forceinline__ void write(const float (&sums)[Tiles::sum_blocks][4], int head,
                                        float scale) const {
    const float factor[2] = {scale, scale};
    T* to = heads_.dqkv + heads_.qkv_at(sequence_, first_ + row_, head);
    write_rows(sums, factor, to, heads_.qkv_stride(), heads_.context - first_ - row_,
               column_block_ * block_columns, heads_.head_width, heads_.vectors);
  }

  const BackwardHeads<T>& heads_;
  const AttentionDropout& dropout_;
  std::int64_t first_;     // key of the block
  std::int64_t per_head_;  // steps
  int sequence_, kv_head_;
  int row_, column_block_;  // of the warp
  Tile<T, width> key_, value_;
  std::byte *stages_, *staging_;
  float dkey_[Tiles::sum_blocks][4], dvalue_[Tiles::sum_blocks][4];
};

template <typename T, int width>
__global__ void __launch_bounds__(BackwardTiles<T, width>::threads)
    attention_backward_keys(const __grid_constant__ BackwardHeads<T> heads,
                            const __grid_constant__ AttentionDropout dropout) {
  KeyBlock<T, width>(heads, dropout).run();
}

}  // namespace

template <typename T>
void launch_backward_by_keys(const BackwardHeads<T>& heads, const AttentionDropout& dropout,
                             const Stream& stream) {
  with_padded_width(heads.head_width, [&]<int width>() {
    using Tiles = BackwardTiles<T, width>;
    const std::int64_t tiles = (heads.context + Tiles::rows - 1) / Tiles::rows;
    LaunchShape shape;
    shape.grid = dim3(static_cast<unsigned>(tiles * heads.batch * heads.kv_heads));
    shape.block = dim3(Tiles::threads);
    shape.shared_bytes = Tiles::shared_bytes;
    launch(attention_backward_keys<T, width>, shape, stream, heads, dropout);
  });
}

template void launch_backward_by_keys(const BackwardHeads<float>&, const AttentionDropout&,
                                      const Stream&);
template void launch_backward_by_keys(const BackwardHeads<BFloat16>&, const AttentionDropout&,
                                      const Stream&);

}  // namespace train::cuda
