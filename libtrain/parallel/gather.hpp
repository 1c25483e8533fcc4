#pragma once

#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// All of a tensor, row-major, on rank `root`; nothing elsewhere. `type` is the tensor's: a rank
/// may hold no part of it. Collective over the ranks of its layout.
std::vector<std::byte> gather(const LogicalTensor& tensor, DataType type, Communicator& world,
                              int root);

}  // namespace train
