#pragma once

#include <cstddef>
#include <span>

#include "collectives/wide/codec/codec.hpp"

namespace train::wide::detail {

/// What one pass over values encodes, and what it leaves besides; empty spans are left out. Each
/// span that is not empty has as many elements as `values`; `decoded` may be `values` itself.
struct EncodePass {
  std::span<const float> values;
  std::span<const float> residual;  ///< added to the values
  std::span<std::byte> out;
  std::span<float> lost;     ///< value + residual − decoded
  std::span<float> decoded;  ///< what the bytes decode to
};

void encode(Codec codec, const EncodePass& pass);

}  // namespace train::wide::detail
