#pragma once

#include <cstdint>

#include "libtrain/ops/ops.hpp"

namespace train {

/// Bytes that cuDNN's attention of a fixed order keeps for each head of queries in its backward
/// pass, all bf16: gradients of scores, in whole tiles of 64 × 128 (Hopper's; Ampere's are half of
/// that), and where heads have a key/value head in common, their own gradients of it.
constexpr std::int64_t fused_backward_bytes(const AttentionShape& shape) {
  const std::int64_t rows = (shape.context + 63) / 64 * 64;
  const std::int64_t columns = (shape.context + 127) / 128 * 128;
  const std::int64_t own = shape.heads == shape.kv_heads ? 0 : 2 * columns * shape.head_width;
  return 2 * (rows * columns + own);
}

}  // namespace train
