#include "libtrain/memory_report.hpp"

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/tensor/booked_memory.hpp"
#include "libtrain/tensor/tensor.hpp"

using namespace train;

namespace {

constexpr std::int64_t mib = 1 << 20;

/// The host's, taken from the system in pieces of 4 MiB.
class CoarseMemory final : public Memory {
 public:
  void* allocate(std::size_t bytes) override {
    in_use_ += bytes;
    while (reserved_ < in_use_) reserved_ += 4 * mib;
    return ::operator new(bytes);
  }
  void release(void* block, std::size_t bytes) noexcept override {
    in_use_ -= bytes;
    ::operator delete(block);
  }
  bool on_host() const override { return true; }
  void copy_from_host(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
  }
  void copy_to_host(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
  }
  Statistics statistics() const override { return {.bytes_reserved = reserved_}; }

 private:
  std::size_t in_use_ = 0;
  std::size_t reserved_ = 0;
};

/// A rank's device with known tensors: what stays, and what came and went.
struct Rank {
  explicit Rank(int rank) : device(std::make_unique<CoarseMemory>(), nullptr, 1) {
    add(MemoryUse::parameters, (rank + 1) * mib);
    add(MemoryUse::gradients, mib / 2);
    add(MemoryUse::optimizer_state, 3 * mib);
    static_cast<void>(of(MemoryUse::activations, 2 * mib));
    static_cast<void>(of(MemoryUse::communication, mib / 1024));
  }
  Tensor of(MemoryUse use, std::int64_t bytes) {
    return {device.memory(use), {bytes / 4}, DataType::f32};
  }
  void add(MemoryUse use, std::int64_t bytes) { kept.push_back(of(use, bytes)); }

  Device device;
  std::vector<Tensor> kept;  // which go before their device
};

constexpr const char* head =
    "memory, MiB    parameters    gradients    optimizer activations^     buckets^  from system\n";
constexpr const char* foot =
    "^ the most at once during the run; the others are what stays between steps\n";

// On every rank, with the rows between head and foot.
void check_report(int ranks, const std::string& rows) {
  local::run(ranks, [&](Communicator& world) {
    const Rank rank(world.rank());
    CHECK(memory_report(rank.device, world) == head + rows + foot);
  });
}

}  // namespace

TEST_CASE("one rank's report has what stays and the peaks of what passes") {
  check_report(1,
               "rank 0              1.000        0.500        3.000        2.000        0.001      "
               "  8.000\n");
}

TEST_CASE("several ranks have a row each, the same on all of them") {
  check_report(
      3,
      "rank 0              1.000        0.500        3.000        2.000        0.001        8.000\n"
      "rank 1              2.000        0.500        3.000        2.000        0.001        8.000\n"
      "rank 2              3.000        0.500        3.000        2.000        0.001       "
      "12.000\n");
}

TEST_CASE("of more than sixteen ranks the report has the least and the most of each column") {
  check_report(
      17,
      "least               1.000        0.500        3.000        2.000        0.001        8.000\n"
      "most               17.000        0.500        3.000        2.000        0.001       "
      "24.000\n");
}

TEST_CASE("lanes have a column where there are any, of the most at once") {
  local::run(2, [&](Communicator& world) {
    const Rank rank(world.rank());
    BookedMemory memory(rank.device.memory(MemoryUse::lanes));
    std::pmr::vector<float> kept(&memory);
    if (world.rank() == 1) {
      kept.resize(mib / 4);
      const std::pmr::vector<float> passing(mib / 2, 0.0f, &memory);
    }
    CHECK(memory_usage(rank.device).now_of(MemoryUse::lanes) == world.rank() * mib);
    CHECK(memory_report(rank.device, world) ==
          "memory, MiB    parameters    gradients    optimizer activations^     buckets^       "
          "lanes^  from system\n"
          "rank 0              1.000        0.500        3.000        2.000        0.001        "
          "0.000        8.000\n"
          "rank 1              2.000        0.500        3.000        2.000        0.001        "
          "3.000        8.000\n" +
              std::string(foot) +
              "lanes are in the host's memory, beside what is from the system\n");
  });
}

TEST_CASE("usage tells uses apart, and peaks begin anew when they are reset") {
  Rank rank(0);
  const Tensor stays = rank.of(MemoryUse::activations, 4096);
  MemoryUsage usage = memory_usage(rank.device);
  CHECK(usage.now_of(MemoryUse::parameters) == mib);
  CHECK(usage.now_of(MemoryUse::activations) == 4096);
  CHECK(usage.peak_of(MemoryUse::activations) == 2 * mib);
  CHECK(usage.now_of(MemoryUse::communication) == 0);
  CHECK(usage.reserved == 8 * mib);
  reset_memory_peaks(rank.device);
  usage = memory_usage(rank.device);
  CHECK(usage.peak_of(MemoryUse::activations) == 4096);
  CHECK(usage.peak_of(MemoryUse::communication) == 0);
  CHECK(usage.peak_of(MemoryUse::parameters) == mib);
}
