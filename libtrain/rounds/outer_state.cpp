#include "libtrain/rounds/outer_state.hpp"

#include <xxhash.h>

namespace train {

OuterFragment::OuterFragment(LaneValues values)
    : values_(std::move(values)),
      hash_(XXH3_64bits(values_.data(), values_.size() * sizeof(float))) {}

std::uint64_t OuterState::hash() const {
  if (fragments.size() == 1) return fragments.front()->hash();
  std::vector<std::uint64_t> hashes;
  for (const auto& fragment : fragments) hashes.push_back(fragment->hash());
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

std::vector<std::size_t> OuterState::sizes() const {
  std::vector<std::size_t> sizes;
  for (const auto& fragment : fragments) sizes.push_back(fragment->values().size());
  return sizes;
}

}  // namespace train
