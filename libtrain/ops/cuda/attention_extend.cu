#include <algorithm>

#include "libtrain/ops/cuda/attention_forward.hpp"
#include "libtrain/ops/cuda/attention_shape.hpp"
#include "libtrain/ops/cuda/attention_tile.cuh"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {
namespace {

// Keys and values of the new rows into the caches: `width` elements each of a row.
struct Keep {
  Values qkv, keys, values;
  std::int64_t context, capacity, position, row, first_column, width;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t i = first / width, column = first % width;
    const std::int64_t from = i * row + first_column + column;
    const std::int64_t to = (i / context * capacity + position + i % context) * width + column;
    keys.store<n>(to, qkv.load<n>(from));
    values.store<n>(to, qkv.load<n>(from + width));
  }
};

constexpr int single_warps = 4;
constexpr int lanes = 32;
constexpr int width_per_lane_max = 256 / lanes;

// One query of one head: the block's warps take keys in turn, each with its own running maximum,
// sum and output, and merge these in the order of the warps. One pass over the keys and values.
template <typename T, typename Cache>
class SingleQuery {
 public:
  __device__ __forceinline__ void run(const T* query, const Cache* keys, const Cache* values,
                                      std::int64_t stride, std::int64_t count, int width, T* out) {
    const int lane = static_cast<int>(threadIdx.x) % lanes,
              warp = static_cast<int>(threadIdx.x) / lanes;
    const float scale = log2_e * rsqrtf(static_cast<float>(width));
    float q[width_per_lane_max];
#pragma unroll
    for (int i = 0; i < width_per_lane_max; ++i) {
      const int d = lane + i * lanes;
      q[i] = d < width ? to_float(query[d]) * scale : 0.0f;
      sum_[i] = 0.0f;
    }
    for (std::int64_t j = warp; j < count; j += single_warps) {
      add(q, keys + j * stride, values + j * stride, lane, width);
    }
    merge(lane, warp, width, out);
  }

 private:
  __device__ __forceinline__ void add(const float (&q)[width_per_lane_max], const Cache* key,
                                      const Cache* value, int lane, int width) {
    float score = 0.0f;
#pragma unroll
    for (int i = 0; i < width_per_lane_max; ++i) {
      const int d = lane + i * lanes;
      if (d < width) score = fmaf(q[i], to_float(key[d]), score);
    }
#pragma unroll
    for (int step = lanes / 2; step > 0; step /= 2) {
      score += __shfl_xor_sync(0xffffffffu, score, step);
    }
    const float top = fmaxf(highest_, score);
    const float shrink = exp2f(highest_ - top), p = exp2f(score - top);
    highest_ = top;
    total_ = total_ * shrink + p;
#pragma unroll
    for (int i = 0; i < width_per_lane_max; ++i) {
      const int d = lane + i * lanes;
      if (d < width) sum_[i] = fmaf(p, to_float(value[d]), sum_[i] * shrink);
    }
  }

  __device__ __forceinline__ void merge(int lane, int warp, int width, T* out) const {
    auto* sums = reinterpret_cast<float*>(dynamic_shared());  // [warps][width]
    float* highest = sums + single_warps * width;
    float* total = highest + single_warps;
#pragma unroll
    for (int i = 0; i < width_per_lane_max; ++i) {
      const int d = lane + i * lanes;
      if (d < width) sums[warp * width + d] = sum_[i];
    }
    if (lane == 0) {
      highest[warp] = highest_;
      total[warp] = total_;
    }
    __syncthreads();
    float top = highest[0];
    for (int w = 1; w < single_warps; ++w) top = fmaxf(top, highest[w]);
    for (int d = static_cast<int>(threadIdx.x); d < width; d += static_cast<int>(blockDim.x)) {
      float sum = 0.0f, all = 0.0f;
      for (int w = 0; w < single_warps; ++w) {
        if (total[w] == 0.0f) continue;  // saw no key
        const float factor = exp2f(highest[w] - top);
        sum += sums[w * width + d] * factor;
        all += total[w] * factor;
      }
      out[d] = from_float<T>(sum / all);
    }
  }

  float highest_ = -INFINITY;
  float total_ = 0.0f;
  float sum_[width_per_lane_max];
};

template <typename T, typename Cache>
struct Extension {
  const T* qkv;
  const Cache* keys;
  const Cache* values;
  T* out;
  std::int64_t context, position, capacity;
  int heads, kv_heads, width;
};

template <typename T, typename Cache>
__global__ void __launch_bounds__(single_warps* lanes)
    attention_single(const __grid_constant__ Extension<T, Cache> at) {
  const std::int64_t row = blockIdx.x / at.heads;
  const int head = static_cast<int>(blockIdx.x % at.heads);
  const std::int64_t sequence = row / at.context, stride = std::int64_t{at.kv_heads} * at.width;
  const std::int64_t cache =
      sequence * at.capacity * stride + std::int64_t{head / (at.heads / at.kv_heads)} * at.width;
  const std::int64_t qkv_width = std::int64_t{at.heads + 2 * at.kv_heads} * at.width;
  SingleQuery<T, Cache>().run(at.qkv + row * qkv_width + head * at.width, at.keys + cache,
                              at.values + cache, stride, at.position + row % at.context + 1,
                              at.width, at.out + (row * at.heads + head) * at.width);
}

template <typename T, typename Cache>
void run_single(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
                std::int64_t capacity, const Tensor& keys, const Tensor& values, const Tensor& out,
                const Stream& stream) {
  Extension<T, Cache> at{};
  at.qkv = qkv.data<T>();
  at.keys = keys.data<Cache>();
  at.values = values.data<Cache>();
  at.out = out.data<T>();
  at.context = shape.context;
  at.position = position;
  at.capacity = capacity;
  at.heads = static_cast<int>(shape.heads);
  at.kv_heads = static_cast<int>(shape.kv_heads);
  at.width = static_cast<int>(shape.head_width);
  LaunchShape launched;
  launched.grid = dim3(static_cast<unsigned>(shape.batch * shape.context * shape.heads));
  launched.block = dim3(single_warps * lanes);
  launched.shared_bytes =
      single_warps * (static_cast<std::size_t>(shape.head_width) + 2) * sizeof(float);
  launch(attention_single<T, Cache>, launched, stream, at);
}

template <typename T>
void run_tiled(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
               std::int64_t capacity, const Tensor& keys, const Tensor& values, const Tensor& out,
               const Stream& stream) {
  ForwardHeads<T> heads{};
  heads.query = qkv.data<T>();
  heads.key = keys.data<T>();
  heads.value = values.data<T>();
  heads.out = out.data<T>();
  heads.query_stride = shape.qkv_width();
  heads.key_stride = shape.kv_heads * shape.head_width;
  heads.out_stride = shape.out_width();
  heads.query_sequence = shape.context * shape.qkv_width();
  heads.key_sequence = capacity * heads.key_stride;
  heads.out_sequence = shape.context * shape.out_width();
  heads.queries = shape.context;
  heads.position = position;
  heads.batch = static_cast<int>(shape.batch);
  heads.heads = heads.all_heads = static_cast<int>(shape.heads);
  heads.group = static_cast<int>(shape.heads / shape.kv_heads);
  heads.head_width = static_cast<int>(shape.head_width);
  heads.vectors = chunks_fit(shape, {&qkv, &keys, &values, &out});
  attention_forward(heads, Dropout{}, stream);
}

// Fewer new positions than this go one by one: a tile of queries would mostly be empty.
constexpr std::int64_t tiled_context = 16;

template <typename T>
void run(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
         std::int64_t capacity, const Tensor& keys, const Tensor& values, const Tensor& out,
         const Stream& stream) {
  if (keys.type() == qkv.type() && shape.context >= tiled_context) {
    run_tiled<T>(qkv, shape, position, capacity, keys, values, out, stream);
  } else if (keys.type() == DataType::bf16) {
    run_single<T, BFloat16>(qkv, shape, position, capacity, keys, values, out, stream);
  } else {
    run_single<T, float>(qkv, shape, position, capacity, keys, values, out, stream);
  }
}

}  // namespace

void CudaOps::attention_extend(const Tensor& qkv, const AttentionShape& shape,
                               std::int64_t position, const Tensor& keys, const Tensor& values,
                               const Tensor& out) {
  const std::int64_t rows = shape.batch * shape.context;
  check_attention(shape);
  if (rows == 0 || shape.heads == 0) return;
  const std::int64_t row = shape.kv_heads * shape.head_width;
  const std::int64_t capacity = keys.elements() / (shape.batch * row);
  invariant(position >= 0 && position + shape.context <= capacity,
            "attention_extend: the caches have room");
  invariant(qkv.elements() == rows * shape.qkv_width() && values.elements() == keys.elements() &&
                values.type() == keys.type() && out.elements() == rows * shape.out_width() &&
                out.type() == qkv.type(),
            "attention_extend: out has qkv's rows, values are like keys");
  const Keep keep{Values(qkv),       Values(keys),      Values(values),
                  shape.context,     capacity,          position,
                  shape.qkv_width(), shape.out_width(), row};
  const bool packs = shape.head_width % pack_size == 0 && packs_fit({&qkv, &keys, &values});
  map(keep, rows * row, packs, multiprocessors_, stream_);
  if (qkv.type() == DataType::bf16) {
    run<BFloat16>(qkv, shape, position, capacity, keys, values, out, stream_);
  } else {
    run<float>(qkv, shape, position, capacity, keys, values, out, stream_);
  }
}

}  // namespace train::cuda
