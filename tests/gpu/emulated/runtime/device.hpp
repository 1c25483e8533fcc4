#pragma once

#include "tests/gpu/emulated/runtime/api.hpp"

namespace emulated {

/// How many devices the emulation has.
inline constexpr int device_count = 8;

/// The calling thread's.
int current_device();

/// Keeps an error for cudaGetLastError of the calling thread, and returns it.
cudaError_t report(cudaError_t error);

}  // namespace emulated
