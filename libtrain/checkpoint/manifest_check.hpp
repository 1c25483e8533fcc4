#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "collectives/unique_handle.hpp"
#include "libtrain/checkpoint/manifest.hpp"

struct XXH3_state_s;

namespace train {

/// Throws Error that names tensor or file when a manifest speaks of what cannot be.
void check_manifest(const Manifest& manifest);

/// The stretches [begin, end) of a file that no block holds, in order. Blocks must lie within the
/// file and apart (see check_manifest).
std::vector<std::array<std::uint64_t, 2>> bookkeeping_of(const Manifest& manifest,
                                                         std::size_t file);

/// The same for blocks at [begin, end) of a file of so many bytes.
std::vector<std::array<std::uint64_t, 2>> gaps_between(
    std::vector<std::array<std::uint64_t, 2>> blocks, std::uint64_t file_bytes);

/// XXH3 of bytes that come in parts.
class RunningHash {
 public:
  RunningHash();
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct Traits {
    using Handle = XXH3_state_s*;
    static Handle empty() { return nullptr; }
    static void close(Handle state) noexcept;
  };
  UniqueHandle<Traits> state_;
};

/// Calls visit(begin, bytes) for these stretches in parts that fit a small buffer; `bytes` is for
/// visit to fill or to look at.
template <typename Visit>
void for_each_part(const std::vector<std::array<std::uint64_t, 2>>& stretches, Visit visit) {
  constexpr std::uint64_t part_bytes_max = 1 << 20;
  std::vector<std::byte> part;
  for (auto [begin, end] : stretches) {
    while (begin < end) {
      part.resize(std::min(end - begin, part_bytes_max));
      visit(begin, std::span(part));
      begin += part.size();
    }
  }
}

}  // namespace train
