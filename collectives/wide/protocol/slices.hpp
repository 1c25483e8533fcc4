#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "collectives/wide/protocol/ranges.hpp"

namespace train::wide {

/// Shares of an exchange are counted in these parts of the whole.
inline constexpr std::uint32_t share_parts = 1u << 16;

/// Cuts share_parts in proportion to the bandwidths: owner i has the parts from the i-th cut to the
/// next, the last one up to share_parts. Integers only, so everyone computes the same. A bandwidth
/// of 0 (not measured) counts as the mean of the others.
std::vector<std::uint32_t> cuts_by_bandwidth(std::span<const std::uint64_t> bandwidths_kbit);

/// The elements that owner `index` reduces, of `elements` in all. Begins at a multiple of
/// `alignment`; slices are disjoint and together hold every element; one may be empty.
Range slice_of(std::uint64_t elements, std::span<const std::uint32_t> cuts, std::size_t index,
               std::uint64_t alignment = 256);

}  // namespace train::wide
