#pragma once

#include <cstddef>

// Emulated device memory: one range of addresses for all devices, which faults when it is touched
// while no stream has work: host code that looks at device memory crashes as it would on a GPU.
namespace emulated {

/// Opens device memory for as long as one exists.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

/// Null when the device is full. Filled with NaN; a guard behind it is checked when it is freed.
void* allocate(int device, std::size_t bytes);
/// False for what is no block.
bool release(void* block);
/// Free bytes of a device, and all.
void memory_info(int device, std::size_t* free, std::size_t* total);

/// Whether an address lies in device memory at all.
bool is_device_memory(const void* address);
/// Of the block in which the address lies; -1 if it lies in none.
int device_of(const void* address);
/// Whether all the bytes lie in one block that is in use.
bool in_block(const void* address, std::size_t bytes);
bool is_pinned(const void* address, std::size_t bytes);

void* allocate_pinned(std::size_t bytes);
bool release_pinned(void* block);

}  // namespace emulated
