#pragma once

#include <memory>

#include "libtrain/ops/device.hpp"

/// The device that is held against the golden numbers: the CPU, or in the programs of tests/gpu the
/// GPU.
std::unique_ptr<train::Device> golden_device();
