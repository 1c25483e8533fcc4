#include <algorithm>
#include <cmath>
#include <limits>

#include "libtrain/ops/cpu/attention_forward.hpp"
#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {
namespace {

// One query against `count` keys and values whose rows lie `stride` apart; `scores` has room for
// `count` numbers, `sum` for a head.
template <typename T, typename Cache>
void attend(const T* query, const Cache* keys, const Cache* values, std::int64_t count,
            std::int64_t stride, std::int64_t width, float* scores, float* sum, T* out) {
  const float factor = 1.0f / std::sqrt(static_cast<float>(width));
  for (std::int64_t j = 0; j < count; ++j) {
    const Cache* key = keys + j * stride;
    scores[j] = factor * sum_over(width, [&](auto at) { return at(query) * at(key); });
  }
  const float largest = max_over(count, scores, -std::numeric_limits<float>::infinity());
  const float total = sum_over(count, [&](auto at) { return fast_exp(at(scores) - largest); });
  std::fill_n(sum, width, 0.0f);
  for (std::int64_t j = 0; j < count; ++j) {
    const Cache* value = values + j * stride;
    const float probability = fast_exp(scores[j] - largest) / total;
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) sum[d] += probability * to_float(value[d]);
  }
#pragma omp simd
  for (std::int64_t d = 0; d < width; ++d) out[d] = from_float<T>(sum[d]);
}

// Fewer new positions than this go one by one: a tile of queries would mostly be empty.
constexpr std::int64_t tiled_context = panel / 2;

template <typename T, typename Cache>
struct Extension {
  const AttentionShape& shape;
  std::int64_t position, capacity;
  const T* qkv;
  Cache* keys;
  Cache* values;
  T* out;

  std::int64_t row() const { return shape.kv_heads * shape.head_width; }
  std::int64_t group() const { return shape.heads / shape.kv_heads; }

  // Keys and values of new row `i` (of all sequences) into the caches.
  void keep(std::int64_t i) const {
    const T* key = qkv + i * shape.qkv_width() + shape.out_width();
    const std::int64_t place =
        (i / shape.context * capacity + position + i % shape.context) * row();
#pragma omp simd
    for (std::int64_t d = 0; d < row(); ++d) {
      keys[place + d] = from_float<Cache>(to_float(key[d]));
      values[place + d] = from_float<Cache>(to_float(key[row() + d]));
    }
  }

  HeadForward<T, Cache> head(std::int64_t sequence, std::int64_t h) const {
    const std::int64_t cache = sequence * capacity * row() + h / group() * shape.head_width;
    const std::int64_t first = sequence * shape.context;
    return {.query = qkv + first * shape.qkv_width() + h * shape.head_width,
            .query_stride = shape.qkv_width(),
            .key = keys + cache,
            .value = values + cache,
            .key_stride = row(),
            .out = out + first * shape.out_width() + h * shape.head_width,
            .out_stride = shape.out_width(),
            .lse = nullptr,
            .queries = shape.context,
            .position = position,
            .width = shape.head_width,
            .dropout = nullptr,
            .dropout_index = 0};
  }

  // By tiles of queries.
  void run_tiled(Memory& memory, int threads) const {
    const std::int64_t floats = ForwardTiles::floats(shape.head_width);
    const Scratch<float> scratch(memory, threads * floats);
    const std::int64_t tiles = (shape.context + tile - 1) / tile;
    parallel_units(threads, shape.batch * shape.heads * tiles, [&](auto unit, int thread) {
      const std::int64_t h = unit / tiles;
      head(h / shape.heads, h % shape.heads)
          .run((tiles - 1 - unit % tiles) * tile,
               {scratch.data() + thread * floats, shape.head_width});
    });
  }

  // Query by query.
  void run_single(Memory& memory, int threads) const {
    const std::int64_t width = shape.head_width, count_max = position + shape.context;
    const Scratch<float> scratch(memory, threads * (count_max + width));
    const std::int64_t work = std::max<std::int64_t>(1, shape.context * count_max * width);
    parallel_ranges(threads, shape.batch * shape.heads,
                    std::max<std::int64_t>(1, serial_elements / work),
                    [&](auto begin, auto end, int part) {
                      float* scores = scratch.data() + part * (count_max + width);
                      for (std::int64_t unit = begin; unit < end; ++unit) {
                        const auto one = head(unit / shape.heads, unit % shape.heads);
                        for (std::int64_t i = 0; i < shape.context; ++i) {
                          attend(one.query + i * one.query_stride, one.key, one.value,
                                 position + i + 1, one.key_stride, width, scores,
                                 scores + count_max, one.out + i * one.out_stride);
                        }
                      }
                    });
  }
};

}  // namespace

void CpuOps::attention_extend(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
                              const Tensor& keys, const Tensor& values, const Tensor& out) {
  const std::int64_t rows = shape.batch * shape.context;
  invariant(shape.heads_match(), "attention: key/value heads divide the query heads");
  if (rows == 0 || shape.heads == 0) return;
  const std::int64_t row = shape.kv_heads * shape.head_width;
  const std::int64_t capacity = keys.elements() / (shape.batch * row);
  invariant(position >= 0 && position + shape.context <= capacity,
            "attention_extend: the caches have room");
  invariant(qkv.elements() == rows * shape.qkv_width() && values.elements() == keys.elements() &&
                values.type() == keys.type() && out.elements() == rows * shape.out_width() &&
                out.type() == qkv.type(),
            "attention_extend: out has qkv's rows, values are like keys");
  with_type(qkv.type(), [&](auto tag) {
    with_type(keys.type(), [&](auto cache_tag) {
      using T = decltype(tag);
      using Cache = decltype(cache_tag);
      const Extension<T, Cache> extension{shape,         position,           capacity,
                                          qkv.data<T>(), keys.data<Cache>(), values.data<Cache>(),
                                          out.data<T>()};
      parallel_rows(threads_, rows, row, [&](auto begin, auto end, int) {
        for (std::int64_t i = begin; i < end; ++i) extension.keep(i);
      });
      if (shape.context < tiled_context) {
        extension.run_single(memory_, threads_);
      } else {
        extension.run_tiled(memory_, attention_threads(shape));
      }
    });
  });
}

}  // namespace train::cpu
