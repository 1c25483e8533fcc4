#include <algorithm>

#include "libtrain/ops/cpu/attention_tile.hpp"
#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {
namespace {

// One thread's memory: the keys and values of a (sequence, kv head) and their gradients over the
// whole context, and tiles for 64 queries. O(context · head_width), nothing of context².
struct BackwardTiles {
  std::int64_t width, padded;  // head width, and as a multiple of a panel: rows' distance
  std::int64_t context;        // as a multiple of a tile
  float *keys, *values, *dkeys, *dvalues;  // [context][padded]
  float *query, *dout, *dquery;            // [tile][padded]
  float *query_lanes, *dout_lanes;         // [padded][tile], transposed
  float *probability, *dscore;             // [tile keys][tile queries]
  float *lse, *delta;                      // [tile]
  float* factors;                          // [tile keys][panel]: dropout

  static std::int64_t round_up(std::int64_t n, std::int64_t unit) {
    return (n + unit - 1) / unit * unit;
  }
  static std::int64_t floats(const AttentionShape& shape) {
    const std::int64_t padded = padded_width(shape.head_width);
    return 4 * round_up(shape.context, tile) * padded + 5 * tile * padded + 2 * tile * tile +
           2 * tile + tile * panel;
  }
  BackwardTiles(float* memory, const AttentionShape& shape)
      : width(shape.head_width),
        padded(padded_width(shape.head_width)),
        context(round_up(shape.context, tile)) {
    const auto take = [&](std::int64_t count) {
      float* taken = memory;
      memory += count;
      return taken;
    };
    for (float** rows : {&keys, &values, &dkeys, &dvalues}) *rows = take(context * padded);
    for (float** rows : {&query, &dout, &dquery, &query_lanes, &dout_lanes}) {
      *rows = take(tile * padded);
    }
    probability = take(tile * tile);
    dscore = take(tile * tile);
    lse = take(tile);
    delta = take(tile);
    factors = take(tile * panel);
  }
};

// For a panel: scores become probabilities exp(score - lse), and dprobabilities become dscores
// p (dp - delta). With dropout, p' = p·factor multiplied the values, so dp = dp'·factor.
template <bool drops>
void dscore_panel(float* scores, float* dscores, const float* factors, std::int64_t keys,
                  const float* lse, const float* delta) {
  for (int half = 0; half < panel; half += lanes) {
    const Vec log_sum = load(lse + half), shift = load(delta + half);
    for (std::int64_t j = 0; j < keys; ++j) {
      float* p_at = scores + j * tile + half;
      float* d_at = dscores + j * tile + half;
      const Vec p = fast_exp(load(p_at) - log_sum);
      if constexpr (drops) {
        const Vec factor = load(factors + j * panel + half);
        store(p_at, p * factor);
        store(d_at, p * (load(d_at) * factor - shift));
      } else {
        store(p_at, p);
        store(d_at, p * (load(d_at) - shift));
      }
    }
  }
}

template <typename T>
class Backward {
 public:
  struct Pointers {
    const T* qkv;
    const T* out;
    const float* lse;
    const T* dout;
    T* dqkv;
  };

  Backward(const AttentionShape& shape, const Dropout& dropout, const Pointers& pointers)
      : shape_(shape), dropout_(dropout), at_(pointers) {}

  // All gradients of one key/value head and its query heads.
  void run(std::int64_t batch, std::int64_t kv_head, const BackwardTiles& tiles) const {
    const std::int64_t group = shape_.heads / shape_.kv_heads;
    const std::int64_t context = shape_.context, padded = tiles.padded;
    const HeadRows<T> rows(at_.qkv, shape_, batch, kv_head * group);
    copy_rows(rows.key, rows.stride, context, tiles.width, padded, 1.0f, tiles.keys);
    copy_rows(rows.value, rows.stride, context, tiles.width, padded, 1.0f, tiles.values);
    std::fill_n(tiles.dkeys, 2 * tiles.context * padded, 0.0f);
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (std::int64_t first = 0; first < context; first += tile) {
        query_tile(batch, head, first, tiles);
      }
    }
    T* dkey = at_.dqkv + (rows.key - at_.qkv);
    T* dvalue = at_.dqkv + (rows.value - at_.qkv);
    write_rows(tiles.dkeys, context, 1.0f, tiles, dkey);
    write_rows(tiles.dvalues, context, 1.0f, tiles, dvalue);
  }

 private:
  // 1/sqrt(head width) goes into the queries: scores and dkeys have it from there, dqueries last.
  float score_scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_width)); }

  void query_tile(std::int64_t batch, std::int64_t head, std::int64_t first,
                  const BackwardTiles& tiles) const {
    const std::int64_t queries = std::min(tile, shape_.context - first);
    const std::int64_t width = tiles.width, padded = tiles.padded;
    const HeadRows<T> rows(at_.qkv, shape_, batch, head);
    const T* query = rows.query + first * rows.stride;
    copy_rows(query, rows.stride, queries, width, padded, score_scale(), tiles.query);
    const std::int64_t out_stride = shape_.out_width();
    const std::int64_t place =
        (batch * shape_.context + first) * out_stride + head * shape_.head_width;
    copy_rows(at_.dout + place, out_stride, queries, width, padded, 1.0f, tiles.dout);
    // Queries past the context's end are zero and add nothing.
    std::fill(tiles.query + queries * padded, tiles.query + tile * padded, 0.0f);
    std::fill(tiles.dout + queries * padded, tiles.dout + tile * padded, 0.0f);
    transpose(tiles.query, padded, tile, padded, tiles.query_lanes, tile);
    transpose(tiles.dout, padded, tile, padded, tiles.dout_lanes, tile);
    load_statistics(batch, head, first, queries, place, tiles);
    std::fill_n(tiles.dquery, tile * padded, 0.0f);

    for (std::int64_t first_key = 0; first_key <= first; first_key += tile) {
      const std::uint64_t index = static_cast<std::uint64_t>(shape_.dropout_index(batch, head) +
                                                             first * shape_.context + first_key);
      const std::int64_t keys = std::min(tile, shape_.context - first_key);
      const std::int64_t used = BackwardTiles::round_up(queries, panel);
      for (std::int64_t column = 0; column < used; column += panel) {
        scores_of_panel(tiles, column, first_key, first + column - first_key, keys,
                        index + static_cast<std::uint64_t>(column * shape_.context));
      }
      add_gradients(tiles, first_key, keys, used, first_key == first);
    }
    T* dquery = at_.dqkv + (query - at_.qkv);
    write_rows(tiles.dquery, queries, score_scale(), tiles, dquery);
  }

  // lse, and delta = the sum over a head's outputs of dout·out (Dao et al., section B.4).
  void load_statistics(std::int64_t batch, std::int64_t head, std::int64_t first,
                       std::int64_t queries, std::int64_t place, const BackwardTiles& tiles) const {
    const float* lse = at_.lse + (batch * shape_.heads + head) * shape_.context + first;
    std::fill_n(tiles.lse, tile, 0.0f);
    std::fill_n(tiles.delta, tile, 0.0f);
    for (std::int64_t i = 0; i < queries; ++i) {
      const T* out = at_.out + place + i * shape_.out_width();
      const T* dout = at_.dout + place + i * shape_.out_width();
      tiles.lse[i] = lse[i];
      tiles.delta[i] = sum_over(tiles.width, [&](auto at) { return at(out) * at(dout); });
    }
  }

  // Probabilities and score gradients of 64 keys and a panel of queries.
  void scores_of_panel(const BackwardTiles& tiles, std::int64_t column, std::int64_t first_key,
                       std::int64_t lead, std::int64_t tile_keys, std::uint64_t index) const {
    const std::int64_t keys = std::min(tile_keys, lead + panel);
    const std::int64_t at = first_key * tiles.padded;
    float* scores = tiles.probability + column;
    float* dscores = tiles.dscore + column;
    product<false>(keys, panel, tiles.width, {tiles.keys + at, tiles.padded, 1},
                   tiles.query_lanes + column, tile, scores, tile);
    mask_future(scores, keys, lead);
    product<false>(keys, panel, tiles.width, {tiles.values + at, tiles.padded, 1},
                   tiles.dout_lanes + column, tile, dscores, tile);
    if (dropout_.active()) {
      dropout_panel(dropout_, index, static_cast<std::uint64_t>(shape_.context), keys,
                    tiles.factors);
      dscore_panel<true>(scores, dscores, tiles.factors, keys, tiles.lse + column,
                         tiles.delta + column);
    } else {
      dscore_panel<false>(scores, dscores, nullptr, keys, tiles.lse + column, tiles.delta + column);
    }
  }

  // dvalues += pᵀ dout, dkeys += dsᵀ query, dquery += ds keys. In a diagonal tile, keys of one
  // panel meet only queries of the same panel or later.
  void add_gradients(const BackwardTiles& tiles, std::int64_t first_key, std::int64_t keys,
                     std::int64_t queries, bool diagonal) const {
    const std::int64_t padded = tiles.padded, step = diagonal ? panel : tile;
    for (std::int64_t key = 0; key < keys; key += step) {
      const std::int64_t query = diagonal ? key : 0;
      const std::int64_t rows = std::min(step, keys - key);
      const std::int64_t scores = key * tile + query, at = (first_key + key) * padded;
      product<true>(rows, padded, queries - query, {tiles.probability + scores, tile, 1},
                    tiles.dout + query * padded, padded, tiles.dvalues + at, padded);
      product<true>(rows, padded, queries - query, {tiles.dscore + scores, tile, 1},
                    tiles.query + query * padded, padded, tiles.dkeys + at, padded);
    }
    for (std::int64_t query = 0; query < queries; query += step) {
      const std::int64_t seen = diagonal ? std::min(keys, query + panel) : keys;
      product<true>(std::min(step, queries - query), padded, seen, {tiles.dscore + query, 1, tile},
                    tiles.keys + first_key * padded, padded, tiles.dquery + query * padded, padded);
    }
  }

  void write_rows(const float* from, std::int64_t rows, float factor, const BackwardTiles& tiles,
                  T* to) const {
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* in = from + row * tiles.padded;
      T* out = to + row * shape_.qkv_width();
      for_each_over(tiles.width, [&](auto at) { at.put(out, at(in) * factor); });
    }
  }

  const AttentionShape& shape_;
  const Dropout& dropout_;
  Pointers at_;
};

}  // namespace

void CpuOps::attention_backward(const Tensor& qkv, const AttentionShape& shape,
                                const Dropout& dropout, const Tensor& out, const Tensor& lse,
                                const Tensor& dout, const Tensor& dqkv) {
  const std::int64_t rows = shape.batch * shape.context;
  invariant(shape.heads_match(), "attention: key/value heads divide the query heads");
  invariant(qkv.elements() == rows * shape.qkv_width() && dqkv.elements() == qkv.elements() &&
                out.elements() == rows * shape.out_width() && dout.elements() == out.elements() &&
                lse.elements() == rows * shape.heads,
            "attention_backward: tensors of qkv's rows");
  if (rows == 0 || shape.heads == 0) return;
  const std::int64_t floats = BackwardTiles::floats(shape);
  const int threads = attention_threads(shape);
  const Scratch<float> memory(memory_, threads * floats);
  with_type(qkv.type(), [&](auto tag) {
    using T = decltype(tag);
    const Backward<T> backward(
        shape, dropout,
        {qkv.data<T>(), out.data<T>(), lse.data<float>(), dout.data<T>(), dqkv.data<T>()});
    parallel_units(threads, shape.batch * shape.kv_heads, [&](std::int64_t unit, int thread) {
      backward.run(unit / shape.kv_heads, unit % shape.kv_heads,
                   {memory.data() + thread * floats, shape});
    });
  });
}

}  // namespace train::cpu
