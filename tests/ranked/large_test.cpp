// Messages whose length no int holds.
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/ranked.hpp"

namespace train {
namespace {

constexpr std::size_t count = (std::size_t{1} << 31) + 4099;
constexpr std::size_t memory_needed_gib = 8;

/// Of the machine, in GiB; 0 where it cannot be told.
std::size_t available_memory_gib() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::size_t kib = 0;
  while (file >> name >> kib) {
    if (name == "MemAvailable:") return kib >> 20;
    file.ignore(100, '\n');
  }
  return 0;
}

/// Marks the first byte, the last, and one in every 16 MiB and a little.
constexpr std::size_t stride = (std::size_t{1} << 24) + 7;

std::uint8_t mark(int rank, std::size_t i) {
  return static_cast<std::uint8_t>(1 + (i / stride + static_cast<std::size_t>(rank) * 31) % 100);
}

void set_marks(std::vector<std::uint8_t>& bytes, int rank) {
  for (std::size_t i = 0; i < count; i += stride) bytes[i] = mark(rank, i);
  bytes.back() = mark(rank, count - 1);
}

template <typename Expected>
bool has_marks(const std::vector<std::uint8_t>& bytes, Expected expected) {
  for (std::size_t i = 0; i < count; i += stride) {
    if (bytes[i] != expected(i) || bytes[i + 1] != 0) return false;
  }
  return bytes.back() == expected(count - 1);
}

}  // namespace

TEST_CASE("2 GiB and a few bytes") {
  ranked([](Communicator& world) {
    // All ranks must come to the same answer: the least counts.
    std::vector<std::int64_t> memory{static_cast<std::int64_t>(available_memory_gib())};
    world.all_reduce(std::span(memory), std::span(memory), ReduceOp::min).wait();
    if (memory[0] < static_cast<std::int64_t>(memory_needed_gib)) {
      if (world.rank() == 0) {
        MESSAGE("skipped: ", memory[0], " GiB of memory available, needs ", memory_needed_gib);
      }
      return;
    }
    std::vector<std::uint8_t> bytes(count);
    set_marks(bytes, world.rank());
    world.all_reduce(std::span(bytes), std::span(bytes), ReduceOp::sum).wait();
    CHECK(has_marks(bytes, [&](std::size_t i) {
      int sum = 0;
      for (int rank = 0; rank < world.size(); ++rank) sum += mark(rank, i);
      return static_cast<std::uint8_t>(sum);
    }));
    const int last = world.size() - 1;
    if (world.rank() == last) set_marks(bytes, 5);
    world.broadcast(std::span(bytes), last).wait();
    CHECK(has_marks(bytes, [](std::size_t i) { return mark(5, i); }));
    if (world.rank() == 0) {
      set_marks(bytes, 8);
      world.send(std::span(bytes), last, 0).wait();
    } else if (world.rank() == last) {
      world.receive(std::span(bytes), 0, 0).wait();
      CHECK(has_marks(bytes, [](std::size_t i) { return mark(8, i); }));
    }
    world.barrier().wait();
  });
}

}  // namespace train
