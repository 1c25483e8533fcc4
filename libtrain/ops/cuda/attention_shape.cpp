#include "libtrain/ops/cuda/attention_shape.hpp"

#include <fmt/format.h>

namespace train::cuda {

void check_attention(const AttentionShape& shape) {
  constexpr std::int64_t width_max = 256;
  invariant(shape.heads_match(), "attention: key/value heads divide the query heads");
  if (shape.head_width > width_max) {
    throw Error(
        fmt::format("attention on a GPU takes heads up to {} wide, not {}: use more heads, "
                    "or --device cpu",
                    width_max, shape.head_width));
  }
}

bool chunks_fit(const AttentionShape& shape, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    const auto bytes = static_cast<std::size_t>(shape.head_width) * size_of(tensor->type());
    if (bytes % 16 != 0 || reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 != 0) return false;
  }
  return true;
}

}  // namespace train::cuda
