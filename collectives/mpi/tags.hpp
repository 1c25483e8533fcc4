#pragma once

#include "collectives/ordered/arguments.hpp"

namespace train::mpi {

/// Tags on a group's context for collectives. Two steps of one collective that can be under way
/// between the same two ranks have tags of their own; order within a tag is MPI's.
inline constexpr int notice_tag = 0;
inline constexpr int meet_tag = 1;
inline constexpr int scatter_tag = 2;
inline constexpr int gather_tag = 3;

/// On the context for messages, payloads carry the user's tag and headers this one.
constexpr int header_tag(int tag) {
  return detail::tag_limit + tag;
}
inline constexpr int tag_needed = header_tag(detail::tag_limit - 1);

}  // namespace train::mpi
