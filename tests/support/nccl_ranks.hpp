#pragma once

#include <memory>

#include "collectives/communicator.hpp"
#include "collectives/nccl/world.hpp"

namespace train {

/// How many GPUs there are for ranks of the backend nccl.
int gpu_count();

/// A group over NCCL for tests that have their buffers in the host's memory: each collective works
/// on copies in the memory of a GPU, made in the order of a compute stream before the call and
/// brought back behind its wait. So the same tests hold a GPU's collectives to what they hold all
/// others to. Collective over `host`. Throws Error in a program that was built without NCCL.
std::unique_ptr<Communicator> make_gpu_ranks(Communicator& host, int device, nccl::Sums sums);

}  // namespace train
