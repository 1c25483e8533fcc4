#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/rotary_table.hpp"

namespace train::cpu {
namespace {

template <typename T>
void rotate_head(T* head, const float* cosine, const float* sine, float direction,
                 std::int64_t half) {
  T* low = head;
  T* high = head + half;
  for_each_over(half, [&](auto at) {
    const auto x = at(low), y = at(high), c = at(cosine), s = direction * at(sine);
    at.put(low, x * c - y * s);
    at.put(high, y * c + x * s);
  });
}

}  // namespace

void CpuOps::rotary(const Tensor& qkv, const AttentionShape& shape, std::int64_t first_position,
                    const RotaryFrequencies& frequencies, bool inverse) {
  const std::int64_t rows = shape.batch * shape.context, width = shape.qkv_width();
  invariant(qkv.elements() == rows * width, "rotary: qkv has a row per position");
  invariant(shape.head_width > 0 && shape.head_width % 2 == 0, "rotary: heads of even width");
  invariant(first_position >= 0, "rotary: positions start at 0");
  const std::int64_t half = shape.head_width / 2;
  const float* table =
      rotary_table_.get(first_position + shape.context, shape.head_width, frequencies);
  const float direction = inverse ? -1.0f : 1.0f;
  with_type(qkv.type(), [&](auto tag) {
    using T = decltype(tag);
    T* data = qkv.data<T>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* angles = table + (first_position + row % shape.context) * 2 * half;
        for (std::int64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
          rotate_head(data + row * width + head * shape.head_width, angles, angles + half,
                      direction, half);
        }
      }
    });
  });
}

}  // namespace train::cpu
