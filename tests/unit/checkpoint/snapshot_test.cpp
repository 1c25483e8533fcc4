#include "libtrain/checkpoint/snapshot.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <doctest/doctest.h>
#include <xxhash.h>

#include "libtrain/tensor/cpu/cpu_memory.hpp"

using namespace train;

namespace {

// A device whose copies are counted.
class DeviceMemory final : public Memory {
 public:
  void* allocate(std::size_t bytes) override { return host_.allocate(bytes); }
  void release(void* block, std::size_t bytes) noexcept override { host_.release(block, bytes); }
  bool on_host() const override { return false; }
  void copy_from_host(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
  }
  void copy_to_host(void* target, const void* source, std::size_t bytes) override {
    wait_for_work();
    copy_to_host_at_once(target, source, bytes);
  }
  void wait_for_work() override { ++waits; }
  void copy_to_host_at_once(void* target, const void* source, std::size_t bytes) override {
    CHECK(waits == 1);
    largest = std::max(largest, bytes);
    ++copies;
    std::memcpy(target, source, bytes);
  }
  Statistics statistics() const override { return host_.statistics(); }

  int waits = 0;
  int copies = 0;
  std::size_t largest = 0;

 private:
  CpuMemory host_;
};

struct Piece {
  std::vector<std::byte> bytes;
  std::uint64_t hash;
};

std::vector<Piece> pieces_of(const CheckpointSnapshot& snapshot, std::size_t own) {
  std::vector<Piece> pieces;
  snapshot.read(own, [&](std::span<const std::byte> bytes, std::uint64_t hash) {
    pieces.push_back({{bytes.begin(), bytes.end()}, hash});
  });
  return pieces;
}

}  // namespace

TEST_CASE("a snapshot of a device waits for its work once, and copies much at a time") {
  DeviceMemory memory;
  CheckpointContents contents;
  CheckpointPart& part = contents.parts.emplace_back();
  part.name = "model";
  std::vector<std::vector<std::int32_t>> values;
  for (const std::int64_t count :
       {100, (20 << 18) + 5, 1 << 18}) {  // 400 bytes, 20 MiB + 20, 1 MiB
    auto& numbers = values.emplace_back(static_cast<std::size_t>(count));
    std::iota(numbers.begin(), numbers.end(), static_cast<std::int32_t>(count));
    const Tensor tensor(memory, {count}, DataType::i32);
    tensor.copy_from_host(std::as_bytes(std::span(numbers)));
    part.tensors.push_back({"tensor " + std::to_string(values.size()), DataType::i32,
                            Layout::replicated({count}, 1), tensor});
  }
  CheckpointSnapshot snapshot;
  SUBCASE("copied") {
    snapshot.take(contents, 0);
    CHECK(memory.copies == 4);
    for (LogicalTensor& tensor : part.tensors) tensor.local.reset();
  }
  SUBCASE("referred to") {
    snapshot.refer_to(contents, 0);
  }
  for (std::size_t own = 0; own < values.size(); ++own) {
    const auto expected = std::as_bytes(std::span(values[own]));
    std::size_t at = 0;
    for (const Piece& piece : pieces_of(snapshot, own)) {
      CHECK(piece.bytes.size() == std::min(expected.size() - at, snapshot_piece_bytes));
      CHECK(std::ranges::equal(piece.bytes, expected.subspan(at, piece.bytes.size())));
      CHECK(piece.hash == XXH3_64bits(piece.bytes.data(), piece.bytes.size()));
      at += piece.bytes.size();
    }
    CHECK(at == expected.size());
  }
  CHECK(memory.waits == 1);
  CHECK(memory.copies == 4);
  CHECK(memory.largest == std::size_t{16} << 20);
}
