#pragma once

#include <functional>

#include "tests/gpu/emulated/runtime/api.hpp"

// How emulated libraries (matrix products, collectives) and launches put work into a stream.
namespace emulated {

/// Runs `work` on the stream's thread, behind what the stream holds, with device memory open.
/// False when `stream` is none, or another device than the stream's is current.
bool enqueue(cudaStream_t stream, std::function<void()> work);

}  // namespace emulated
