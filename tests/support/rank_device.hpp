#pragma once

#include <memory>

#include "libtrain/ops/device.hpp"

namespace train::test {

/// The device of a rank of a test: the processor; in the programs of tests/gpu a GPU, which ranks
/// share where there are too few.
std::unique_ptr<Device> rank_device(int rank);

/// How many of `steps` steps a test trains on it. Ranks that share a GPU have it in turns of
/// milliseconds, and every exchange between them takes some.
int rank_steps(int steps);

}  // namespace train::test
