#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace train {

/// Counter-based random numbers: Philox 4×32 with 10 rounds (Salmon, Moraes, Dror, Shaw: "Parallel
/// random numbers: as easy as 1, 2, 3", SC 2011). The numbers of an index depend on nothing else,
/// so any rank can draw any part of a tensor's initial weights or dropout mask.
class Philox {
 public:
  /// A stream named by seed and purpose: a tensor's name, an op's name.
  Philox(std::uint64_t seed, std::string_view purpose);
  explicit Philox(std::uint64_t key) : key_(key) {}

  std::uint64_t key() const { return key_; }

  /// Four independent 32-bit numbers for (high, low).
  std::array<std::uint32_t, 4> operator()(std::uint64_t high, std::uint64_t low) const {
    return block(key_, high, low);
  }

  /// constexpr, so that kernels of a GPU draw from the same source.
  static constexpr std::array<std::uint32_t, 4> block(std::uint64_t key, std::uint64_t high,
                                                      std::uint64_t low) {
    std::array<std::uint32_t, 4> c{
        static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
        static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
    auto k0 = static_cast<std::uint32_t>(key);
    auto k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }

 private:
  std::uint64_t key_;
};

/// Uniform in (0, 1], from the upper 24 bits.
constexpr float uniform_from_bits(std::uint32_t bits) {
  return static_cast<float>((bits >> 8) + 1) * 0x1p-24f;
}

}  // namespace train
