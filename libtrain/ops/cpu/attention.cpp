#include <algorithm>
#include <limits>

#include "libtrain/ops/cpu/attention_tile.hpp"
#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/dropout_factors.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {

void mask_future(float* scores, std::int64_t keys, std::int64_t lead) {
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = std::max<std::int64_t>(0, lead + 1); j < keys; ++j) {
    float* row = scores + j * tile;
    for (std::int64_t lane = 0; lane < std::min<std::int64_t>(panel, j - lead); ++lane) {
      row[lane] = hidden;
    }
  }
}

void dropout_panel(const Dropout& dropout, std::uint64_t first, std::uint64_t row,
                   std::int64_t keys, float* factors) {
  float of_query[panel][tile];
  for (int lane = 0; lane < panel; ++lane) {
    dropout_factors(dropout, first + static_cast<std::uint64_t>(lane) * row, keys, of_query[lane]);
  }
  for (std::int64_t j = 0; j < keys; ++j) {
    for (int lane = 0; lane < panel; ++lane) factors[j * panel + lane] = of_query[lane][j];
  }
}

namespace {

// One thread's tiles, for queries of one head.
struct ForwardTiles {
  std::int64_t padded;  // distance of key and value rows
  float* query;         // [padded][tile], transposed and scaled
  float* key;           // [tile][padded]
  float* value;         // [tile][padded]
  float* scores;        // [tile keys][tile queries]
  float* out;           // [padded][tile], transposed
  float* largest;       // [tile]: running maximum of each query's scores
  float* total;         // [tile]: running sum of exponentials
  float* factors;       // [tile keys][panel]: dropout

  static std::int64_t floats(std::int64_t width) {
    return 4 * tile * padded_width(width) + tile * tile + 2 * tile + tile * panel;
  }
  ForwardTiles(float* memory, std::int64_t width)
      : padded(padded_width(width)),
        query(memory),
        key(query + tile * padded),
        value(key + tile * padded),
        scores(value + tile * padded),
        out(scores + tile * tile),
        largest(out + tile * padded),
        total(largest + tile),
        factors(total + tile) {}
};

// Turns a panel's scores into exp(score - maximum) and brings its running maximum, sum and output
// to the new maximum.
void softmax_panel(float* scores, std::int64_t keys, std::int64_t width, float* largest,
                   float* total, float* out) {
  for (int half = 0; half < panel; half += lanes) {
    const Vec before = load(largest + half);
    Vec top = before;
    for (std::int64_t j = 0; j < keys; ++j) {
      const Vec score = load(scores + j * tile + half);
      top = score > top ? score : top;
    }
    const Vec shrink = fast_exp(before - top);
    Vec sum = load(total + half) * shrink;
    for (std::int64_t j = 0; j < keys; ++j) {
      float* at = scores + j * tile + half;
      const Vec e = fast_exp(load(at) - top);
      store(at, e);
      sum += e;
    }
    store(largest + half, top);
    store(total + half, sum);
    for (std::int64_t d = 0; d < width; ++d) {
      store(out + d * tile + half, load(out + d * tile + half) * shrink);
    }
  }
}

// Multiplies a panel's probabilities by their dropout factors.
void drop_panel(const float* factors, std::int64_t keys, float* scores) {
  for (std::int64_t j = 0; j < keys; ++j) {
    for (int half = 0; half < panel; half += lanes) {
      float* at = scores + j * tile + half;
      store(at, load(at) * load(factors + j * panel + half));
    }
  }
}

template <typename T>
class Forward {
 public:
  Forward(const AttentionShape& shape, const Dropout& dropout, const T* qkv, T* out, float* lse)
      : shape_(shape), dropout_(dropout), qkv_(qkv), out_(out), lse_(lse) {}

  std::int64_t query_tiles() const { return (shape_.context + tile - 1) / tile; }

  // Queries [first, first + 64) of one head.
  void run(std::int64_t batch, std::int64_t head, std::int64_t first,
           const ForwardTiles& tiles) const {
    const std::int64_t width = shape_.head_width;
    const std::int64_t queries = std::min(tile, shape_.context - first);
    const HeadRows<T> rows(qkv_, shape_, batch, head);
    copy_rows(rows.query + first * rows.stride, rows.stride, queries, width, tiles.padded,
              1.0f / std::sqrt(static_cast<float>(width)), tiles.key);
    std::fill(tiles.key + queries * tiles.padded, tiles.key + tile * tiles.padded, 0.0f);
    transpose(tiles.key, tiles.padded, tile, tiles.padded, tiles.query, tile);
    std::fill_n(tiles.out, tile * tiles.padded, 0.0f);
    std::fill_n(tiles.largest, tile, -std::numeric_limits<float>::infinity());
    std::fill_n(tiles.total, tile, 0.0f);
    for (std::int64_t first_key = 0; first_key < first + queries; first_key += tile) {
      const std::int64_t keys = std::min(tile, first + queries - first_key);
      copy_rows(rows.key + first_key * rows.stride, rows.stride, keys, width, tiles.padded, 1.0f,
                tiles.key);
      copy_rows(rows.value + first_key * rows.stride, rows.stride, keys, width, tiles.padded, 1.0f,
                tiles.value);
      const std::uint64_t index = static_cast<std::uint64_t>(
          ((batch * shape_.heads + head) * shape_.context + first) * shape_.context + first_key);
      for (std::int64_t column = 0; column < queries; column += panel) {
        add_panel(tiles, column, first + column - first_key, keys,
                  index + static_cast<std::uint64_t>(column * shape_.context));
      }
    }
    write(batch, head, first, queries, tiles);
  }

 private:
  // `lead`: how far the panel's first query is past the tile's first key.
  void add_panel(const ForwardTiles& tiles, std::int64_t column, std::int64_t lead,
                 std::int64_t tile_keys, std::uint64_t index) const {
    const std::int64_t width = shape_.head_width;
    const std::int64_t keys = std::min(tile_keys, lead + panel);
    float* scores = tiles.scores + column;
    product<false>(keys, panel, width, {tiles.key, tiles.padded, 1}, tiles.query + column, tile,
                   scores, tile);
    mask_future(scores, keys, lead);
    softmax_panel(scores, keys, width, tiles.largest + column, tiles.total + column,
                  tiles.out + column);
    if (dropout_.active()) {
      dropout_panel(dropout_, index, static_cast<std::uint64_t>(shape_.context), keys,
                    tiles.factors);
      drop_panel(tiles.factors, keys, scores);
    }
    product<true>(width, panel, keys, {tiles.value, 1, tiles.padded}, scores, tile,
                  tiles.out + column, tile);
  }

  void write(std::int64_t batch, std::int64_t head, std::int64_t first, std::int64_t queries,
             const ForwardTiles& tiles) const {
    float* lse = lse_ + (batch * shape_.heads + head) * shape_.context + first;
    for (std::int64_t i = 0; i < queries; ++i) {
      lse[i] = tiles.largest[i] + std::log(tiles.total[i]);
      tiles.total[i] = 1.0f / tiles.total[i];
    }
    transpose(tiles.out, tile, tiles.padded, tile, tiles.value, tiles.padded);
    T* out =
        out_ + (batch * shape_.context + first) * shape_.out_width() + head * shape_.head_width;
    for (std::int64_t i = 0; i < queries; ++i) {
      const float* in = tiles.value + i * tiles.padded;
      T* row = out + i * shape_.out_width();
      const float factor = tiles.total[i];
#pragma omp simd
      for (std::int64_t d = 0; d < shape_.head_width; ++d) row[d] = from_float<T>(in[d] * factor);
    }
  }

  const AttentionShape& shape_;
  const Dropout& dropout_;
  const T* qkv_;
  T* out_;
  float* lse_;
};

}  // namespace

int CpuOps::attention_threads(const AttentionShape& shape) const {
  return shape.batch * shape.context * shape.qkv_width() < serial_elements ? 1 : threads_;
}

void CpuOps::attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                       const Tensor& out, const Tensor& lse) {
  const std::int64_t rows = shape.batch * shape.context;
  invariant(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
            "attention: key/value heads divide the query heads");
  invariant(qkv.elements() == rows * shape.qkv_width() &&
                out.elements() == rows * shape.out_width() && out.type() == qkv.type() &&
                lse.elements() == rows * shape.heads,
            "attention: out and lse of qkv's rows");
  const std::int64_t floats = ForwardTiles::floats(shape.head_width);
  const int threads = attention_threads(shape);
  const Scratch<float> memory(memory_, threads * floats);
  with_type(qkv.type(), [&](auto tag) {
    using T = decltype(tag);
    const Forward<T> forward(shape, dropout, qkv.data<T>(), out.data<T>(), lse.data<float>());
    const std::int64_t query_tiles = forward.query_tiles();
    parallel_units(threads, shape.batch * shape.heads * query_tiles,
                   [&](std::int64_t unit, int thread) {
                     const std::int64_t head = unit / query_tiles;
                     // Late queries see most keys: start with the longest.
                     const std::int64_t first = (query_tiles - 1 - unit % query_tiles) * tile;
                     forward.run(head / shape.heads, head % shape.heads, first,
                                 {memory.data() + thread * floats, shape.head_width});
                   });
  });
}

}  // namespace train::cpu
