#include "tests/gpu/emulated/runtime/memory.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <sys/mman.h>

#include "tests/gpu/emulated/runtime/api.hpp"
#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"

namespace emulated {
namespace {

constexpr std::size_t arena_bytes = std::size_t{1} << 36;   // addresses, not memory
constexpr std::size_t device_bytes = std::size_t{4} << 30;  // what a device says it has
constexpr std::size_t alignment = 256;
constexpr std::size_t guard_bytes = 256;
constexpr int guard_byte = 0x5a;
constexpr std::size_t spoiled_bytes_max = std::size_t{64} << 20;
constexpr int nan_byte = 0xff;  // NaN in f32, bf16 and f64, -1 in integers

struct Block {
  std::size_t bytes;
  int device;
};

std::size_t reserved(std::size_t bytes) {
  return (bytes + guard_bytes + alignment - 1) / alignment * alignment;
}

// Makes what is read before it is written show; of huge blocks only the beginning, since those are
// there to be refused.
void spoil(std::byte* block, std::size_t bytes) {
  std::memset(block, nan_byte, std::min(bytes, spoiled_bytes_max));
}

class Arena {
 public:
  Arena() {
    void* base =
        mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) fail("no addresses for device memory");
    // protect() takes time by the page. A kernel without huge pages refuses: it is slower then.
    madvise(base, arena_bytes, MADV_HUGEPAGE);
    base_ = static_cast<std::byte*>(base);
    free_[base_] = arena_bytes;
  }

  bool holds(const void* address) const {
    return address >= base_ && address < base_ + arena_bytes;
  }

  void open() {
    std::lock_guard lock(protection_mutex_);
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    std::lock_guard lock(protection_mutex_);
    if (--open_ == 0) protect(PROT_NONE);
  }

  void* allocate(int device, std::size_t bytes) {
    OpenMemory open;
    std::lock_guard lock(mutex_);
    const std::size_t size = reserved(bytes);
    if (used_[device] + size > device_bytes) return nullptr;
    const auto place = std::find_if(free_.begin(), free_.end(),
                                    [&](const auto& range) { return range.second >= size; });
    if (place == free_.end()) return nullptr;
    std::byte* block = place->first;
    if (place->second > size) free_[block + size] = place->second - size;
    free_.erase(place);
    used_[device] += size;
    blocks_[block] = {bytes, device};
    spoil(block, bytes);
    std::memset(block + bytes, guard_byte, size - bytes);
    return block;
  }

  bool release(void* address) {
    OpenMemory open;
    std::lock_guard lock(mutex_);
    const auto found = blocks_.find(static_cast<std::byte*>(address));
    if (found == blocks_.end()) return false;
    const auto [block, info] = *found;
    const std::size_t size = reserved(info.bytes);
    for (std::size_t i = info.bytes; i < size; ++i) {
      if (block[i] != std::byte{guard_byte}) fail("a kernel or copy wrote behind a block's end");
    }
    spoil(block, info.bytes);
    used_[info.device] -= size;
    blocks_.erase(found);
    put_back(block, size);
    return true;
  }

  bool in_block(const void* address, std::size_t bytes) {
    std::lock_guard lock(mutex_);
    auto* first = static_cast<std::byte*>(const_cast<void*>(address));
    auto found = blocks_.upper_bound(first);
    if (found == blocks_.begin()) return false;
    --found;
    return first + bytes <= found->first + found->second.bytes;
  }

  int device_of(const void* address) {
    std::lock_guard lock(mutex_);
    auto found = blocks_.upper_bound(static_cast<std::byte*>(const_cast<void*>(address)));
    if (found == blocks_.begin()) return -1;
    --found;
    return address < found->first + found->second.bytes ? found->second.device : -1;
  }

  std::size_t used(int device) {
    std::lock_guard lock(mutex_);
    return used_[device];
  }

 private:
  void protect(int protection) {
    if (mprotect(base_, arena_bytes, protection) != 0) fail("mprotect of device memory failed");
  }

  void put_back(std::byte* block, std::size_t size) {
    auto place = free_.emplace(block, size).first;
    const auto next = std::next(place);
    if (next != free_.end() && block + size == next->first) {
      place->second += next->second;
      free_.erase(next);
    }
    if (place == free_.begin()) return;
    const auto before = std::prev(place);
    if (before->first + before->second == block) {
      before->second += place->second;
      free_.erase(place);
    }
  }

  std::byte* base_;
  std::mutex protection_mutex_;
  int open_ = 0;
  std::mutex mutex_;
  std::map<std::byte*, Block> blocks_;
  std::map<std::byte*, std::size_t> free_;
  std::array<std::size_t, device_count> used_{};
};

Arena& arena() {
  static Arena& arena = *new Arena;  // streams of static objects outlive any destructor here
  return arena;
}

struct Pinned {
  std::mutex mutex;
  std::map<std::byte*, std::size_t> blocks;
};

Pinned& pinned() {
  static Pinned& pinned = *new Pinned;
  return pinned;
}

}  // namespace

OpenMemory::OpenMemory() {
  arena().open();
}
OpenMemory::~OpenMemory() {
  arena().close();
}

void* allocate(int device, std::size_t bytes) {
  return arena().allocate(device, bytes);
}
bool release(void* block) {
  return arena().release(block);
}

void memory_info(int device, std::size_t* free, std::size_t* total) {
  *total = device_bytes;
  *free = device_bytes - arena().used(device);
}

bool is_device_memory(const void* address) {
  return arena().holds(address);
}
int device_of(const void* address) {
  return arena().device_of(address);
}
bool in_block(const void* address, std::size_t bytes) {
  return arena().in_block(address, bytes);
}

bool is_pinned(const void* address, std::size_t bytes) {
  std::lock_guard lock(pinned().mutex);
  auto* first = static_cast<std::byte*>(const_cast<void*>(address));
  auto found = pinned().blocks.upper_bound(first);
  if (found == pinned().blocks.begin()) return false;
  --found;
  return first + bytes <= found->first + found->second;
}

void* allocate_pinned(std::size_t bytes) {
  void* block = std::malloc(std::max<std::size_t>(bytes, 1));
  if (block == nullptr) return nullptr;
  std::lock_guard lock(pinned().mutex);
  pinned().blocks[static_cast<std::byte*>(block)] = bytes;
  return block;
}

bool release_pinned(void* block) {
  std::lock_guard lock(pinned().mutex);
  if (pinned().blocks.erase(static_cast<std::byte*>(block)) == 0) return false;
  std::free(block);
  return true;
}

}  // namespace emulated

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  emulated::current_device();
  if (emulated::is_device_memory(address)) {
    const int device = emulated::device_of(address);
    if (device < 0) return cudaErrorInvalidValue;
    *attributes = {cudaMemoryTypeDevice, device};
  } else {
    const bool pinned = emulated::is_pinned(address, 1);
    *attributes = {pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered, 0};
  }
  return cudaSuccess;
}
