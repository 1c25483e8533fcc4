#pragma once

#include <vector>

#include "libtrain/model/gpt_config.hpp"
#include "libtrain/tensor/tensor.hpp"

namespace train {

/// Keys and values [sequences, capacity, kv_heads · head_width] that one layer has seen.
struct LayerCache {
  Tensor keys;
  Tensor values;
};

/// What generation remembers, so that a new token costs one row instead of the whole context.
class KeyValueCache {
 public:
  /// `kv_heads` are those that this rank computes; all of the model's unless it is split. Memory
  /// for `capacity` positions, at most the model's context.
  KeyValueCache(const GptConfig& config, std::int64_t kv_heads, Memory& memory, DataType type,
                std::int64_t sequences, std::int64_t capacity);

  std::int64_t sequences() const { return sequences_; }
  std::int64_t capacity() const { return capacity_; }
  /// Positions held so far.
  std::int64_t length() const { return length_; }
  void advance(std::int64_t positions) { length_ += positions; }
  void clear() { length_ = 0; }
  LayerCache& layer(std::size_t index) { return layers_[index]; }

 private:
  std::int64_t sequences_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<LayerCache> layers_;
};

}  // namespace train
