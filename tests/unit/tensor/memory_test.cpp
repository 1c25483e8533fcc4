#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train {
namespace {

constexpr std::size_t sizes[] = {0, 1, 255, 256, 257, 5000, 1 << 20, (2 << 20) - 1, (5 << 20) + 3};

TEST_CASE("blocks are aligned, apart from each other and wholly usable") {
  CpuMemory memory;
  std::vector<void*> blocks;
  for (const std::size_t size : sizes) {
    void* block = memory.allocate(size);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, static_cast<int>(blocks.size()), size);
    blocks.push_back(block);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    CAPTURE(sizes[i]);
    const auto* bytes = static_cast<const unsigned char*>(blocks[i]);
    if (sizes[i] > 0) {
      CHECK(bytes[0] == i);
      CHECK(bytes[sizes[i] - 1] == i);
    }
    memory.release(blocks[i], sizes[i]);
  }
  CHECK(memory.statistics().bytes_in_use == 0);
}

TEST_CASE("a pattern of sizes that repeats asks the system only once") {
  CpuMemory memory;
  auto step = [&] {
    std::vector<void*> blocks;
    for (const std::size_t size : sizes) blocks.push_back(memory.allocate(size));
    for (std::size_t i = blocks.size(); i-- > 0;) memory.release(blocks[i], sizes[i]);
  };
  step();
  const Memory::Statistics first = memory.statistics();
  for (int i = 0; i < 100; ++i) step();
  const Memory::Statistics last = memory.statistics();
  CHECK(first.system_allocations == std::size(sizes));
  CHECK(last.system_allocations == first.system_allocations);
  CHECK(last.bytes_reserved == first.bytes_reserved);
  CHECK(last.bytes_in_use_peak == first.bytes_in_use_peak);
}

TEST_CASE("sizes share blocks and waste at most an eighth, or a huge page") {
  CpuMemory memory;
  for (std::size_t size = 300; size < (100 << 20); size = size * 5 / 4 + 1) {
    CAPTURE(size);
    void* block = memory.allocate(size);
    const std::size_t used = memory.statistics().bytes_in_use;
    CHECK(used >= size);
    CHECK(used <= size + std::max({std::size_t{256}, size / 8, std::size_t{2} << 20}));
    if (size < (1 << 20)) CHECK(used <= size + std::max<std::size_t>(256, size / 8));
    memory.release(block, size);
    void* again = memory.allocate(used);
    CHECK(again == block);
    memory.release(again, used);
  }
}

TEST_CASE("the peak is the most that was in use at one time") {
  CpuMemory memory;
  void* a = memory.allocate(256);
  void* b = memory.allocate(512);
  memory.release(a, 256);
  void* c = memory.allocate(256);
  const Memory::Statistics statistics = memory.statistics();
  CHECK(c == a);
  CHECK(statistics.bytes_in_use == 768);
  CHECK(statistics.bytes_in_use_peak == 768);
  CHECK(statistics.system_allocations == 2);
  memory.release(b, 512);
  memory.release(c, 256);
  CHECK(memory.statistics().bytes_in_use_peak == 768);
}

TEST_CASE("threads may allocate and release at the same time") {
  CpuMemory memory;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&memory, t] {
      for (std::size_t i = 0; i < 1000; ++i) {
        const std::size_t size = 64 * (i % 7 + 1);
        auto* block = static_cast<unsigned char*>(memory.allocate(size));
        std::memset(block, t, size);
        if (block[size - 1] != t) std::terminate();  // shared with another thread
        memory.release(block, size);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(memory.statistics().bytes_in_use == 0);
}

}  // namespace
}  // namespace train
