#pragma once

#include <memory>

#include "libtrain/ops/device.hpp"

namespace train::test {

/// The device of one rank of a test: the processor; in the programs of tests/gpu a GPU, which all
/// ranks share.
std::unique_ptr<Device> rank_device();

}  // namespace train::test
