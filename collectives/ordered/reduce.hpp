#pragma once

#include <cstddef>
#include <span>

#include "collectives/types.hpp"

namespace train::detail {

/// destination[i] = sources[0][i] op sources[1][i] op …, from the left, so that every backend and
/// every rank computes the same bits. bf16 sums in f32 and rounds once; integers wrap; a NaN in any
/// source wins. `destination` may be one of the sources, but overlap none in part.
/// Memory traffic: (sources + 1) * count elements.
void reduce(DataType type, ReduceOp op, std::span<const std::byte* const> sources,
            std::byte* destination, std::size_t count);

}  // namespace train::detail
