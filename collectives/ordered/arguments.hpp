#pragma once

#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::detail {

/// User tags stay below this; backends use the tags above for themselves.
inline constexpr int tag_limit = 1 << 20;

/// Throws Error naming operation, rank, group and the values at fault, unless the arguments fit
/// each other: element types, counts, root, and overlap between send and receive.
void check_arguments(const Membership& who, const Operation& operation);
/// The same for send and receive; `call` is their name.
void check_message(const Membership& who, const char* call, ConstBuffer buffer, int peer, int tag);

}  // namespace train::detail
