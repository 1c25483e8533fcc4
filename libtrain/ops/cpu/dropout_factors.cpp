#include "libtrain/ops/cpu/dropout_factors.hpp"

#include <algorithm>

namespace train::cpu {
namespace {

constexpr int groups = 16;  // Philox blocks side by side
constexpr int run = 4 * groups;

// The 64 factors of groups `first` … `first + 15`. Philox as in libtrain/tensor/philox.hpp, with
// the rounds outside and the blocks inside.
void factors_of_groups(const Dropout& dropout, std::uint64_t first, float scale, float* factors) {
  std::uint32_t c0[groups], c1[groups], c2[groups], c3[groups];
  for (int i = 0; i < groups; ++i) {
    const std::uint64_t group = first + static_cast<std::uint64_t>(i);
    c0[i] = static_cast<std::uint32_t>(group);
    c1[i] = static_cast<std::uint32_t>(group >> 32);
    c2[i] = static_cast<std::uint32_t>(dropout.step);
    c3[i] = static_cast<std::uint32_t>(dropout.step >> 32);
  }
  auto k0 = static_cast<std::uint32_t>(dropout.key);
  auto k1 = static_cast<std::uint32_t>(dropout.key >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int i = 0; i < groups; ++i) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[i];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      c2[i] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<std::uint32_t>(p1);
      c3[i] = static_cast<std::uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const std::uint32_t* words[4] = {c0, c1, c2, c3};
  for (int word = 0; word < 4; ++word) {
    const std::uint32_t* bits = words[word];
#pragma omp simd
    for (int i = 0; i < groups; ++i) {
      factors[4 * i + word] = dropout_keeps(dropout, bits[i]) ? scale : 0.0f;
    }
  }
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
