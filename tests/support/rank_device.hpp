#pragma once

#include <memory>

#include "libtrain/ops/device.hpp"

namespace train::test {

/// The device of a rank of a test: the processor; in the programs of tests/gpu a GPU, which ranks
/// share where there are too few.
std::unique_ptr<Device> rank_device(int rank);

}  // namespace train::test
