#pragma once

#include <functional>

#include "collectives/communicator.hpp"

namespace train {

/// For test cases of programs made by add_ranked_test: runs `body` on every rank of the backend
/// that the command line chose, in a fresh group with a timeout of a minute. Ranks of `local` are
/// threads of this process, and so are those of `nccl` if --ranks is given, each with a GPU (see
/// nccl_ranks.hpp); under `mpi` and else under `nccl` every process runs the same cases and is one
/// rank. Assertions may be used in the body, SUBCASE may not. A body that throws fails the test
/// case, and the other ranks are woken.
void ranked(const std::function<void(Communicator&)>& body);

}  // namespace train
