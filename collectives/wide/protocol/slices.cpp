#include "collectives/wide/protocol/slices.hpp"

#include <algorithm>

#include "collectives/error.hpp"

namespace train::wide {

std::vector<std::uint32_t> cuts_by_bandwidth(std::span<const std::uint64_t> bandwidths_kbit) {
  std::uint64_t sum = 0, measured = 0;
  // More than 2^40 kbit/s is not a bandwidth; the cap keeps the products below 2^64.
  const auto capped = [](std::uint64_t kbit) { return std::min(kbit, std::uint64_t{1} << 40); };
  for (std::uint64_t kbit : bandwidths_kbit) {
    sum += capped(kbit);
    measured += kbit > 0 ? 1 : 0;
  }
  const std::uint64_t mean = measured > 0 ? std::max<std::uint64_t>(sum / measured, 1) : 1;
  const auto weight = [&](std::uint64_t kbit) { return kbit > 0 ? capped(kbit) : mean; };
  std::uint64_t total = 0;
  for (std::uint64_t kbit : bandwidths_kbit) total += weight(kbit);

  std::vector<std::uint32_t> cuts;
  std::uint64_t before = 0;
  for (std::uint64_t kbit : bandwidths_kbit) {
    // before < total here, so before >> shift fits beside 16 bits without overflow.
    const int shift = total >> 47 != 0 ? 16 : 0;
    cuts.push_back(static_cast<std::uint32_t>((before >> shift) * share_parts / (total >> shift)));
    before += weight(kbit);
  }
  return cuts;
}

Range slice_of(std::uint64_t elements, std::span<const std::uint32_t> cuts, std::size_t index,
               std::uint64_t alignment) {
  invariant(index < cuts.size() && alignment > 0, "a slice of an owner that is not there");
  const std::uint64_t blocks = elements / alignment + (elements % alignment != 0 ? 1 : 0);
  const auto boundary = [&](std::size_t i) {
    const std::uint64_t part = i < cuts.size() ? cuts[i] : share_parts;
    // blocks * part / share_parts, split so that it cannot overflow.
    const std::uint64_t block =
        blocks / share_parts * part + blocks % share_parts * part / share_parts;
    return std::min(block * alignment, elements);
  };
  return {boundary(index), boundary(index + 1)};
}

}  // namespace train::wide
