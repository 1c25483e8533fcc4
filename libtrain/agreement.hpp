#pragma once

#include <span>
#include <string>

#include "collectives/communicator.hpp"

namespace train {

/// The text of the lowest rank whose text is not empty, on every rank; "" when all are. Collective.
std::string first_said(Communicator& ranks, const std::string& text);

/// Checks that all ranks were given the same: `facts` are lines such as "batch 64". Throws Error,
/// on every rank, with the first line that some rank has otherwise than rank 0. Collective.
void require_same(Communicator& ranks, std::span<const std::string> facts);

}  // namespace train
