#pragma once

#include <span>

#include "libtrain/parallel/redistribute.hpp"

namespace train::detail {

/// Throws Error on every rank of the group when what any rank passed to redistribute() is wrong on
/// its own or differs from what others passed. Three small all-reduces.
void check_redistribution(Communicator& group, std::span<const Redistribution> tensors,
                          const RedistributeOptions& options);

}  // namespace train::detail
