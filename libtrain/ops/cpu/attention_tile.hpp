#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/ops.hpp"

// Pieces of tiled attention. Queries lie along vector lanes: scores are kept transposed, as
// scores[key][query], so that a softmax over keys is vertical and needs no sums across lanes. Every
// product then is the same outer product: a number of one factor, broadcast, times vectors of the
// other.

namespace train::cpu {

/// Columns that one register block of a product covers, and its rows: the accumulators, two vectors
/// of one factor and a broadcast of the other fill the registers (32 with 16 lanes, else 16).
inline constexpr int panel = 2 * lanes;
inline constexpr int block_rows = lanes >= 16 ? 12 : 6;
/// Queries per tile and keys per tile: a tile of scores, of keys and of queries each fit 16 KiB
/// at head width 64.
inline constexpr std::int64_t tile = 64;
static_assert(tile % panel == 0);

/// A factor whose element (row, column) lies at data[row·row_step + column·column_step].
struct Strided {
  const float* data;
  std::int64_t row_step, column_step;
};

template <int rows, bool add>
[[gnu::always_inline]] inline void product_block(std::int64_t depth, Strided a, const float* b,
                                                 std::int64_t b_stride, float* c,
                                                 std::int64_t c_stride) {
  Vec sum[rows][2];
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = add ? load(c + r * c_stride) : Vec{};
    sum[r][1] = add ? load(c + r * c_stride + lanes) : Vec{};
  }
  // At least once: with a loop that may not run at all, GCC keeps a second set of sums.
  const float* column = a.data;
  do {
    const Vec left = load(b), right = load(b + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const float factor = column[r * a.row_step];
      sum[r][0] += factor * left;
      sum[r][1] += factor * right;
    }
    column += a.column_step;
    b += b_stride;
  } while (--depth > 0);
  for (int r = 0; r < rows; ++r) {
    store(c + r * c_stride, sum[r][0]);
    store(c + r * c_stride + lanes, sum[r][1]);
  }
}

template <int rows, bool add>
void product_tail(std::int64_t left, std::int64_t depth, Strided a, const float* b,
                  std::int64_t b_stride, float* c, std::int64_t c_stride) {
  if constexpr (rows > 0) {
    if (left == rows) {
      product_block<rows, add>(depth, a, b, b_stride, c, c_stride);
    } else {
      product_tail<rows - 1, add>(left, depth, a, b, b_stride, c, c_stride);
    }
  }
}

/// c[rows, columns] (+)= a[rows, depth] · b[depth, columns]; `columns` is a multiple of `panel`,
/// `depth` at least 1.
template <bool add>
void product(std::int64_t rows, std::int64_t columns, std::int64_t depth, Strided a, const float* b,
             std::int64_t b_stride, float* c, std::int64_t c_stride) {
  for (std::int64_t column = 0; column < columns; column += panel) {
    Strided block = a;
    std::int64_t row = 0;
    for (; row + block_rows <= rows; row += block_rows) {
      product_block<block_rows, add>(depth, block, b + column, b_stride,
                                     c + row * c_stride + column, c_stride);
      block.data += block_rows * a.row_step;
    }
    product_tail<block_rows - 1, add>(rows - row, depth, block, b + column, b_stride,
                                      c + row * c_stride + column, c_stride);
  }
}

/// Rows of one head as f32, `padded` apart, with zeros in the columns past `width`.
template <typename T>
void copy_rows(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t width,
               std::int64_t padded, float factor, float* to) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* in = from + row * from_stride;
    float* out = to + row * padded;
    for_each_over(width, [&](auto at) { at.put(out, at(in) * factor); });
    for (std::int64_t d = width; d < padded; ++d) out[d] = 0.0f;
  }
}

/// The first (from 0) or second half of a and b, a's lanes between b's.
template <int from, std::size_t... lane>
[[gnu::always_inline]] inline Vec interleave(Vec a, Vec b, std::index_sequence<lane...>) {
  return __builtin_shuffle(
      a, b, IntVec{static_cast<std::int32_t>((lane % 2) * lanes + from + lane / 2)...});
}

/// to[column][row] = from[row][column] for a square of `lanes`: as many rounds of interleaving rows
/// with those half a square further bring each element to its place, like a perfect shuffle.
[[gnu::always_inline]] inline void transpose_square(const float* from, std::int64_t from_stride,
                                                    float* to, std::int64_t to_stride) {
  constexpr auto all = std::make_index_sequence<lanes>();
  Vec rows[lanes], mixed[lanes];
  for (int i = 0; i < lanes; ++i) rows[i] = load(from + i * from_stride);
#pragma GCC unroll 4
  for (int round = 1; round < lanes; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      mixed[2 * i] = interleave<0>(rows[i], rows[i + lanes / 2], all);
      mixed[2 * i + 1] = interleave<lanes / 2>(rows[i], rows[i + lanes / 2], all);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = mixed[i];
  }
  for (int i = 0; i < lanes; ++i) store(to + i * to_stride, rows[i]);
}

/// to[column][row] = from[row][column]; extents are multiples of `lanes`.
inline void transpose(const float* from, std::int64_t from_stride, std::int64_t rows,
                      std::int64_t columns, float* to, std::int64_t to_stride) {
  for (std::int64_t row = 0; row < rows; row += lanes) {
    for (std::int64_t column = 0; column < columns; column += lanes) {
      transpose_square(from + row * from_stride + column, from_stride,
                       to + column * to_stride + row, to_stride);
    }
  }
}

/// A head's width as the distance of rows: a multiple of a panel.
inline std::int64_t padded_width(std::int64_t width) {
  return (width + panel - 1) / panel * panel;
}

/// Hides keys that come after their query: scores[j][lane] of a panel whose first query is
/// `lead` positions past the tile's first key become -infinity where j > lead + lane.
void mask_future(float* scores, std::int64_t keys, std::int64_t lead);

/// scores[j][lane] = factor of query `lane` of the panel and key first_key + j; `first` is the
/// op's index of (query 0 of the panel, key first_key) and `row` the distance of two queries.
void dropout_panel(const Dropout& dropout, std::uint64_t first, std::uint64_t row,
                   std::int64_t keys, float* factors);

/// Where the heads of sequence `batch` lie in qkv.
template <typename T>
struct HeadRows {
  const T* query;
  const T* key;
  const T* value;
  std::int64_t stride;

  HeadRows(const T* qkv, const AttentionShape& shape, std::int64_t batch, std::int64_t head)
      : stride(shape.qkv_width()) {
    const T* sequence = qkv + batch * shape.context * stride;
    const std::int64_t kv_head = head / (shape.heads / shape.kv_heads);
    query = sequence + head * shape.head_width;
    key = sequence + (shape.heads + kv_head) * shape.head_width;
    value = key + shape.kv_heads * shape.head_width;
  }
};

}  // namespace train::cpu
