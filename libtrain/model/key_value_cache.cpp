#include "libtrain/model/key_value_cache.hpp"

#include <algorithm>

namespace train {

KeyValueCache::KeyValueCache(const GptConfig& config, std::int64_t kv_heads, Memory& memory,
                             DataType type, std::int64_t sequences, std::int64_t capacity)
    : sequences_(sequences), capacity_(std::min(capacity, config.context)) {
  const Shape shape{sequences, capacity_, kv_heads * config.head_width};
  for (std::int64_t i = 0; i < config.layers; ++i) {
    layers_.push_back({Tensor(memory, shape, type), Tensor(memory, shape, type)});
  }
}

}  // namespace train
