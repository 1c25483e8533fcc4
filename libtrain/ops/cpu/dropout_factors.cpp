#include "libtrain/ops/cpu/dropout_factors.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>

namespace train::cpu {
namespace {

constexpr int groups = 8;  // Philox blocks drawn at a time
constexpr int run = 4 * groups;

#if defined(__AVX2__)

// Four Philox blocks side by side: a 32-bit word of each in the lower half of a 64-bit lane. The
// upper halves may hold anything.
using Words [[gnu::vector_size(32)]] = std::uint64_t;

struct FourBlocks {
  Words c0, c1, c2, c3;

  // The lower halves' products, 64 bits each, by the one instruction made for it: from a plain
  // product of 64-bit lanes the compiler makes three, and a mask takes three times as long.
  [[gnu::always_inline]] static Words multiply(Words a, std::uint32_t factor) {
    return (Words)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
  }

  [[gnu::always_inline]] void turn(std::uint32_t k0, std::uint32_t k1) {
    const Words p0 = multiply(c0, 0xD2511F53u), p1 = multiply(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ std::uint64_t{k0};
    c2 = (p0 >> 32) ^ c3 ^ std::uint64_t{k1};
    c1 = p1;
    c3 = p0;
  }

  // The sixteen words, block by block.
  [[gnu::always_inline]] void write(std::uint32_t* bits) const {
    const Words first = (c0 & 0xffffffffu) | (c1 << 32), second = (c2 & 0xffffffffu) | (c3 << 32);
    const Words low = __builtin_shuffle(first, second, Words{0, 4, 1, 5});
    const Words high = __builtin_shuffle(first, second, Words{2, 6, 3, 7});
    std::memcpy(bits, &low, sizeof low);
    std::memcpy(bits + 8, &high, sizeof high);
  }
};

// The numbers of groups `first` … `first + 7`. Philox as in libtrain/tensor/philox.hpp; two times
// four blocks, to hide how long a product takes.
void bits_of_groups(const Dropout& dropout, std::uint64_t first, std::uint32_t* bits) {
  FourBlocks blocks[2];
  for (std::uint64_t i = 0; i < 2; ++i) {
    const Words group = Words{0, 1, 2, 3} + (first + 4 * i);
    blocks[i] = {group, group >> 32, Words{} + dropout.step, (Words{} + dropout.step) >> 32};
  }
  auto k0 = static_cast<std::uint32_t>(dropout.key);
  auto k1 = static_cast<std::uint32_t>(dropout.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (FourBlocks& four : blocks) four.turn(k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 2; ++i) blocks[i].write(bits + 16 * i);
}

#else

void bits_of_groups(const Dropout& dropout, std::uint64_t first, std::uint32_t* bits) {
  for (std::uint64_t i = 0; i < groups; ++i) {
    const auto words = dropout_bits(dropout, first + i);
    std::copy(words.begin(), words.end(), bits + 4 * i);
  }
}

#endif

void factors_of_groups(const Dropout& dropout, std::uint64_t first, float scale, float* factors) {
  std::uint32_t bits[run];
  bits_of_groups(dropout, first, bits);
#pragma omp simd
  for (int i = 0; i < run; ++i) factors[i] = dropout_keeps(dropout, bits[i]) ? scale : 0.0f;
}

}  // namespace

void dropout_factors(const Dropout& dropout, std::uint64_t first, std::int64_t count,
                     float* factors) {
  const float scale = dropout_scale(dropout);
  const std::uint64_t global = dropout.first_index + first;
  std::uint64_t group = global / 4;
  auto skip = static_cast<std::int64_t>(global % 4);
  float buffer[run];
  for (std::int64_t done = 0; done < count; group += groups) {
    if (skip == 0 && count - done >= run) {
      factors_of_groups(dropout, group, scale, factors + done);
      done += run;
      continue;
    }
    factors_of_groups(dropout, group, scale, buffer);
    const std::int64_t taken = std::min<std::int64_t>(run - skip, count - done);
    std::copy_n(buffer + skip, taken, factors + done);
    done += taken;
    skip = 0;
  }
}

}  // namespace train::cpu
