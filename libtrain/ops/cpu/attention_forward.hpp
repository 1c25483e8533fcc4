#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "libtrain/ops/cpu/attention_tile.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

// Attention's forward pass over 64 queries of one head: shared by training, where keys and values
// lie in qkv, and generation, where they lie in caches.

namespace train::cpu {

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
inline void softmax_panel(float* scores, std::int64_t keys, std::int64_t width, float* largest,
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
inline void drop_panel(const float* factors, std::int64_t keys, float* scores) {
  for (std::int64_t j = 0; j < keys; ++j) {
    for (int half = 0; half < panel; half += lanes) {
      float* at = scores + j * tile + half;
      store(at, load(at) * load(factors + j * panel + half));
    }
  }
}

/// One head of one sequence. Query i stands at `position` + i and sees that many keys and itself.
template <typename T, typename Key>
struct HeadForward {
  const T* query;
  std::int64_t query_stride;
  const Key* key;
  const Key* value;
  std::int64_t key_stride;
  T* out;
  std::int64_t out_stride;
  float* lse;  // null: not kept
  std::int64_t queries, position, width;
  const Dropout* dropout;       // null: none
  std::uint64_t dropout_index;  // of query 0 and key 0; queries lie `queries` apart

  /// Queries [first, first + 64).
  void run(std::int64_t first, const ForwardTiles& tiles) const {
    const std::int64_t count = std::min(tile, queries - first);
    copy_rows(query + first * query_stride, query_stride, count, width, tiles.padded,
              1.0f / std::sqrt(static_cast<float>(width)), tiles.key);
    std::fill(tiles.key + count * tiles.padded, tiles.key + tile * tiles.padded, 0.0f);
    transpose(tiles.key, tiles.padded, tile, tiles.padded, tiles.query, tile);
    std::fill_n(tiles.out, tile * tiles.padded, 0.0f);
    std::fill_n(tiles.largest, tile, -std::numeric_limits<float>::infinity());
    std::fill_n(tiles.total, tile, 0.0f);
    const std::int64_t seen = position + first + count;
    for (std::int64_t first_key = 0; first_key < seen; first_key += tile) {
      const std::int64_t keys = std::min(tile, seen - first_key);
      copy_rows(key + first_key * key_stride, key_stride, keys, width, tiles.padded, 1.0f,
                tiles.key);
      copy_rows(value + first_key * key_stride, key_stride, keys, width, tiles.padded, 1.0f,
                tiles.value);
      for (std::int64_t column = 0; column < count; column += panel) {
        add_panel(tiles, first, column, first_key, keys);
      }
    }
    write(first, count, tiles);
  }

 private:
  void add_panel(const ForwardTiles& tiles, std::int64_t first, std::int64_t column,
                 std::int64_t first_key, std::int64_t tile_keys) const {
    // How far the panel's first query stands past the tile's first key.
    const std::int64_t lead = position + first + column - first_key;
    const std::int64_t keys = std::min(tile_keys, lead + panel);
    if (keys <= 0) return;
    float* scores = tiles.scores + column;
    product<false>(keys, panel, width, {tiles.key, tiles.padded, 1}, tiles.query + column, tile,
                   scores, tile);
    mask_future(scores, keys, lead);
    softmax_panel(scores, keys, width, tiles.largest + column, tiles.total + column,
                  tiles.out + column);
    if (dropout != nullptr) {
      const auto row = static_cast<std::uint64_t>(queries);
      const auto at = static_cast<std::uint64_t>((first + column) * queries + first_key);
      dropout_panel(*dropout, dropout_index + at, row, keys, tiles.factors);
      drop_panel(tiles.factors, keys, scores);
    }
    product<true>(width, panel, keys, {tiles.value, 1, tiles.padded}, scores, tile,
                  tiles.out + column, tile);
  }

  void write(std::int64_t first, std::int64_t count, const ForwardTiles& tiles) const {
    transpose(tiles.out, tile, tiles.padded, tile, tiles.value, tiles.padded);
    for (std::int64_t i = 0; i < count; ++i) {
      if (lse != nullptr) lse[first + i] = tiles.largest[i] + std::log(tiles.total[i]);
      const float* in = tiles.value + i * tiles.padded;
      T* to = out + (first + i) * out_stride;
      const float factor = 1.0f / tiles.total[i];
      for_each_over(width, [&](auto at) { at.put(to, at(in) * factor); });
    }
  }
};

}  // namespace train::cpu
