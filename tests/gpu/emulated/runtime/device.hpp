#pragma once

#include "tests/gpu/emulated/runtime/api.hpp"

namespace emulated {

/// How many devices the emulation has.
inline constexpr int device_count = 8;

/// The calling thread's, which the call that asks for it opens: as in CUDA, where a thread that has
/// chosen no device takes the first, and a process pays for each that it opens with memory of it.
int current_device();
/// Whether the process has opened the device since it began, or since forget_opened().
bool is_open(int device);
void forget_opened();

/// Keeps an error for cudaGetLastError of the calling thread, and returns it.
cudaError_t report(cudaError_t error);

}  // namespace emulated
