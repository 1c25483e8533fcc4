#pragma once

#include <cstdint>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/cuda/stream.hpp"

// Attention's forward pass by tiles: shared by training, where keys and values lie in qkv, and
// generation, where they lie in caches.
namespace train::cuda {

/// Where the heads of a batch of sequences lie. Strides are in elements.
template <typename T>
struct ForwardHeads {
  const T* query;
  const T* key;
  const T* value;
  T* out;
  float* lse;                                               ///< null: not kept
  std::int64_t query_stride, key_stride, out_stride;        ///< of rows
  std::int64_t query_sequence, key_sequence, out_sequence;  ///< of sequences
  std::int64_t queries;                                     ///< of each sequence
  std::int64_t position;                                    ///< of query 0, among the keys
  int batch, heads, group, head_width;
  int all_heads;  ///< that dropout counts
  bool vectors;
};

/// Queries of all heads. head_width is at most 256.
template <typename T>
void attention_forward(const ForwardHeads<T>& heads, const Dropout& dropout, const Stream& stream);

}  // namespace train::cuda
