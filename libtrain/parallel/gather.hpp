#pragma once

#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// All of a tensor, row-major, on rank `root`; nothing elsewhere. Collective over the ranks of its
/// layout.
std::vector<std::byte> gather(const LogicalTensor& tensor, Communicator& world, int root);

}  // namespace train
