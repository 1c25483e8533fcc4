#include <algorithm>
#include <cmath>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/rotary_table.hpp"
#include "libtrain/ops/cpu/vec.hpp"

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

const float* RotaryTable::get(std::int64_t positions, std::int64_t head_width, float theta) {
  std::vector<float>& rows = rows_by_shape_[{head_width, theta}];
  const std::int64_t half = head_width / 2;
  const auto have = static_cast<std::int64_t>(rows.size()) / (2 * half);
  if (have >= positions) return rows.data();
  // Generation asks for one position more each time: grow by doubling.
  const std::int64_t want = std::max(positions, 2 * have);
  rows.resize(static_cast<std::size_t>(want * 2 * half));
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(static_cast<double>(theta),
                 -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
    for (std::int64_t position = have; position < want; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      float* row = rows.data() + position * 2 * half;
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return rows.data();
}

void CpuOps::rotary(const Tensor& qkv, const AttentionShape& shape, std::int64_t first_position,
                    float theta, bool inverse) {
  const std::int64_t rows = shape.batch * shape.context, width = shape.qkv_width();
  invariant(qkv.elements() == rows * width, "rotary: qkv has a row per position");
  invariant(shape.head_width > 0 && shape.head_width % 2 == 0, "rotary: heads of even width");
  invariant(first_position >= 0, "rotary: positions start at 0");
  const std::int64_t half = shape.head_width / 2;
  const float* table = rotary_table_.get(first_position + shape.context, shape.head_width, theta);
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
