#include "libtrain/rounds/outer_state.hpp"

#include <xxhash.h>

namespace train {

std::uint64_t OuterState::hash() const {
  return XXH3_64bits(values.data(), values.size() * sizeof(float));
}

}  // namespace train
