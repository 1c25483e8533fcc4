#include "libtrain/ops/cuda/attention_backward.cuh"

namespace train::cuda {
namespace {

// Some queries of one head, and all keys that they see.
template <typename T, int width>
class QueryBlock {
  using Tiles = BackwardTiles<T, width>;
  static constexpr int blocks = Tiles::other_blocks;

 public:
  __device__ __forceinline__ QueryBlock(const BackwardHeads<T>& heads,
                                        const AttentionDropout& dropout)
      : heads_(heads), dropout_(dropout) {
    const std::int64_t all = static_cast<std::int64_t>(heads.batch) * heads.heads;
    const std::int64_t tiles = (heads.context + Tiles::rows - 1) / Tiles::rows;
    // Late queries see most keys: the longest work begins first.
    first_ = (tiles - 1 - blockIdx.x / all) * Tiles::rows;
    sequence_ = static_cast<int>(blockIdx.x % all / heads.heads);
    head_ = static_cast<int>(blockIdx.x % all % heads.heads);
    std::byte* shared = dynamic_shared();
    query_ = {reinterpret_cast<T*>(shared)};
    dout_ = {reinterpret_cast<T*>(shared + Tiles::tile_bytes)};
    stages_ = shared + 2 * Tiles::tile_bytes;
    staging_ = stages_ + Tiles::stages * 2 * Tiles::other_bytes + warp_of_block() * Tiles::staging;
    row_ = warp_of_block() / Tiles::split * warp_rows;
    column_block_ = warp_of_block() % Tiles::split * Tiles::sum_blocks;
  }

  __device__ __forceinline__ void run() {
    fill_tile<Tiles::rows>(query_, heads_.qkv_rows(sequence_, first_, head_));
    fill_tile<Tiles::rows>(dout_, heads_.dout_rows(sequence_, first_, head_));
    load_statistics();
    clear(dquery_);
    const std::int64_t seen = min(first_ + Tiles::rows, heads_.context);
    const std::int64_t steps = (seen + Tiles::others - 1) / Tiles::others;
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
    const float factor[2] = {heads_.scale(), heads_.scale()};
    T* to = heads_.dqkv + heads_.qkv_at(sequence_, first_ + row_, head_);
    write_rows(dquery_, factor, to, heads_.qkv_stride(), heads_.context - first_ - row_,
               column_block_ * block_columns, heads_.head_width, heads_.vectors);
  }

 private:
  __device__ __forceinline__ Tile<T, width> key(std::int64_t step) const {
    return {reinterpret_cast<T*>(stages_ + step % Tiles::stages * 2 * Tiles::other_bytes)};
  }
  __device__ __forceinline__ Tile<T, width> value(std::int64_t step) const {
    return {reinterpret_cast<T*>(stages_ + (step % Tiles::stages * 2 + 1) * Tiles::other_bytes)};
  }

  __device__ __forceinline__ void fetch(std::int64_t step) const {
    const std::int64_t first = step * Tiles::others;
    const int head = heads_.heads + head_ / (heads_.heads / heads_.kv_heads);
    fill_tile<Tiles::others>(key(step), heads_.qkv_rows(sequence_, first, head));
    fill_tile<Tiles::others>(value(step),
                             heads_.qkv_rows(sequence_, first, head + heads_.kv_heads));
  }

  // Of this lane's two rows.
  __device__ __forceinline__ void load_statistics() {
    const std::int64_t from = heads_.statistic_at(sequence_, head_);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t query = first_ + row_ + lane_of_warp() / 4 + 8 * half;
      const bool there = query < heads_.context;
      lse_[half] = there ? heads_.lse[from + query] * log2_e : 0.0f;
      delta_[half] = there ? heads_.delta[from + query] : 0.0f;
    }
  }

  // dquery += ds keys.
  __device__ __forceinline__ void add(std::int64_t step) {
    float scores[blocks][4], dscores[blocks][4];
    clear(scores);
    multiply_rows(scores, LeftRows<T, width, false>(query_, row_), key(step));
    clear(dscores);
    multiply_rows(dscores, LeftRows<T, width, false>(dout_, row_), value(step));
    differentiate(scores, dscores, step * Tiles::others);
    multiply_sums(dquery_, dscores, key(step), column_block_, staging_);
  }

  // dprobabilities become dscores p (dp - delta).
  __device__ __forceinline__ void differentiate(const float (&scores)[blocks][4],
                                                float (&dscores)[blocks][4],
                                                std::int64_t first_key) const {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
    const float scale = heads_.scale() * log2_e;
    const auto ahead = static_cast<int>(first_ + row_ - first_key);  // of query 0 before key 0
    const auto row = static_cast<std::uint64_t>(heads_.context);
    const std::uint64_t mask = heads_.mask_at(dropout_, sequence_, head_) +
                               static_cast<std::uint64_t>(first_ + row_) * row +
                               static_cast<std::uint64_t>(first_key);
#pragma unroll
    for (int n = 0; n < blocks; ++n) {
      float factors[4] = {1.0f, 1.0f, 1.0f, 1.0f};
      if (dropout_.active()) query_factors(dropout_, mask + n * block_columns, row, factors);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int k = n * block_columns + 2 * t + e % 2;
        const bool sees = ahead + g + e / 2 * 8 >= k;
        const float p = sees ? exp2f(scores[n][e] * scale - lse_[e / 2]) : 0.0f;
        dscores[n][e] = p * (dscores[n][e] * factors[e] - delta_[e / 2]);
      }
    }
  }

  const BackwardHeads<T>& heads_;
  const AttentionDropout& dropout_;
  std::int64_t first_;  // query of the block
  int sequence_, head_;
  int row_, column_block_;  // of the warp
  Tile<T, width> query_, dout_;
  std::byte *stages_, *staging_;
  float lse_[2], delta_[2];
  float dquery_[Tiles::sum_blocks][4];
};

template <typename T, int width>
__global__ void __launch_bounds__(BackwardTiles<T, width>::threads)
    attention_backward_queries(const __grid_constant__ BackwardHeads<T> heads,
                               const __grid_constant__ AttentionDropout dropout) {
  QueryBlock<T, width>(heads, dropout).run();
}

}  // namespace

template <typename T>
void launch_backward_by_queries(const BackwardHeads<T>& heads, const AttentionDropout& dropout,
                                const Stream& stream) {
  with_padded_width(heads.head_width, [&]<int width>() {
    using Tiles = BackwardTiles<T, width>;
    const std::int64_t tiles = (heads.context + Tiles::rows - 1) / Tiles::rows;
    LaunchShape shape;
    shape.grid = dim3(static_cast<unsigned>(tiles * heads.batch * heads.heads));
    shape.block = dim3(Tiles::threads);
    shape.shared_bytes = Tiles::shared_bytes;
    launch(attention_backward_queries<T, width>, shape, stream, heads, dropout);
  });
}

template void launch_backward_by_queries(const BackwardHeads<float>&, const AttentionDropout&,
                                         const Stream&);
template void launch_backward_by_queries(const BackwardHeads<BFloat16>&, const AttentionDropout&,
                                         const Stream&);

}  // namespace train::cuda
