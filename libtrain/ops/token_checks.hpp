#pragma once

#include <cstdint>
#include <span>

#include "libtrain/tensor/tensor.hpp"

namespace train {

// What every fast device checks of tokens before it uses them as places in memory. They come from
// files: a wrong one is the environment's fault, and worth a check that costs nothing beside the
// rows it selects.

/// Throws Error for a token that is neither in the vocabulary nor -1.
void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocabulary);
/// Throws Error for a target that is neither in the vocabulary nor -1.
void check_targets(std::span<const std::int32_t> targets, std::int64_t vocabulary);
/// Of the cross entropy of a part of the vocabulary. The caller has found each target's part: a
/// wrong column is its mistake.
void check_parts(const Tensor& logits, std::span<const std::int32_t> targets, const Tensor& maximum,
                 const Tensor& sums);

}  // namespace train
