#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/gpu/emulated/runtime/dim3.hpp"

// How a kernel's blocks run: the threads of a block are fibers of one thread of the host, which
// switch where CUDA's threads meet. Blocks follow each other in an order that changes from launch
// to launch, and so do the threads between two meetings, so that what depends on an order that CUDA
// does not promise gives other bits the second time.
namespace emulated {

/// Runs body() for each thread of each block, on the calling thread. Messages name `kernel` by its
/// address.
void run_grid(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
              const std::function<void()>& body);

std::byte* dynamic_shared_memory();

/// All threads of the block meet.
void block_barrier();

/// What the lanes of a warp meet for; all must meet for the same.
enum class WarpCall : std::uint8_t { sync, shuffle, ballot, matrix };

/// The lanes of the warp meet, each with `bytes` (at most warp_slot_bytes) from `value`. Returns
/// the lanes' values, lane after lane at warp_slot_bytes, valid until the warp meets again after
/// the next time. `mask` names the lanes that take part: those that exist, no fewer.
const std::byte* warp_exchange(WarpCall call, unsigned mask, const void* value, std::size_t bytes);
inline constexpr std::size_t warp_slot_bytes = 64;

int lane();
/// How many lanes the calling thread's warp has: 32 but in the last warp of an odd block.
int warp_lanes();

}  // namespace emulated
