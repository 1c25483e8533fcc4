#pragma once

#include <cstddef>
#include <cstdint>

#include "collectives/ordered/arguments.hpp"

namespace train::mpi {

/// Tags on a group's context for collectives. Two steps of one collective that can be under way
/// between the same two ranks have tags of their own; order within a tag is MPI's.
inline constexpr int notice_tag = 0;
inline constexpr int meet_tag = 1;
inline constexpr int scatter_tag = 2;
inline constexpr int gather_tag = 3;

/// On the context for messages, headers carry the user's tag, and payloads one that depends on
/// their size as well: a receive that is shorter than what was sent does not meet it. Open MPI 4
/// writes large messages behind the end of a receive that is too short, before it calls them
/// truncated.
inline constexpr int payload_tags = 1023;
constexpr int payload_tag(int tag, std::size_t bytes) {
  const auto mixed = std::uint64_t{bytes} * 0x9E3779B97F4A7C15 >> 32;  // Fibonacci hashing
  return (1 + static_cast<int>(mixed % payload_tags)) * detail::tag_limit + tag;
}
inline constexpr int tag_needed = (1 + payload_tags) * detail::tag_limit - 1;

}  // namespace train::mpi
