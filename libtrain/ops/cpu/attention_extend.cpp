#include <cmath>
#include <limits>

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

}  // namespace

void CpuOps::attention_extend(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
                              const Tensor& keys, const Tensor& values, const Tensor& out) {
  const std::int64_t width = shape.head_width, row = shape.kv_heads * width;
  const std::int64_t capacity = keys.elements() / std::max<std::int64_t>(1, shape.batch * row);
  const std::int64_t count_max = position + shape.context, group = shape.heads / shape.kv_heads;
  invariant(position >= 0 && count_max <= capacity, "attention_extend: the caches have room");
  invariant(qkv.elements() == shape.batch * shape.context * shape.qkv_width() &&
                values.elements() == keys.elements() && values.type() == keys.type() &&
                out.elements() == shape.batch * shape.context * shape.out_width() &&
                out.type() == qkv.type(),
            "attention_extend: out has qkv's rows, values are like keys");
  const Scratch<float> scratch(memory_, threads_ * (count_max + width));
  const std::int64_t work = group * shape.context * count_max * width;  // per kv head, about
  with_type(qkv.type(), [&](auto tag) {
    with_type(keys.type(), [&](auto cache_tag) {
      using T = decltype(tag);
      using Cache = decltype(cache_tag);
      const auto extend = [&](std::int64_t unit, float* scores) {
        const std::int64_t sequence = unit / shape.kv_heads, kv = unit % shape.kv_heads;
        const std::int64_t cache = sequence * capacity * row + kv * width;
        Cache* key_cache = keys.data<Cache>() + cache;
        Cache* value_cache = values.data<Cache>() + cache;
        for (std::int64_t i = 0; i < shape.context; ++i) {
          const std::int64_t at = sequence * shape.context + i;
          const T* queries = qkv.data<T>() + at * shape.qkv_width();
          const T* key = queries + (shape.heads + kv) * width;
          const std::int64_t place = (position + i) * row;
          for (std::int64_t d = 0; d < width; ++d) {
            key_cache[place + d] = from_float<Cache>(to_float(key[d]));
            value_cache[place + d] = from_float<Cache>(to_float(key[row + d]));
          }
          for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
            attend(queries + h * width, key_cache, value_cache, position + i + 1, row, width,
                   scores, scores + count_max, out.data<T>() + at * shape.out_width() + h * width);
          }
        }
      };
      parallel_ranges(threads_, shape.batch * shape.kv_heads,
                      std::max<std::int64_t>(1, serial_elements / std::max<std::int64_t>(1, work)),
                      [&](auto begin, auto end, int part) {
                        for (std::int64_t unit = begin; unit < end; ++unit) {
                          extend(unit, scratch.data() + part * (count_max + width));
                        }
                      });
    });
  });
}

}  // namespace train::cpu
