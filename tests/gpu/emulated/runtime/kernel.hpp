#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/gpu/emulated/runtime/block.hpp"
#include "tests/gpu/emulated/runtime/dim3.hpp"
#include "tests/gpu/emulated/runtime/vectors.hpp"

// A kernel's side of CUDA: its words, its built-in variables and functions. Macros, because they
// are words of a language here.
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
// One OS thread runs a block: what is static for it is shared by the block's threads.
#define __shared__ static thread_local

inline constexpr int warpSize = 32;

inline void __syncthreads() {
  emulated::block_barrier();
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  const char nothing = 0;
  emulated::warp_exchange(emulated::WarpCall::sync, mask, &nothing, sizeof nothing);
}

namespace emulated {

// Lanes outside [0, width) of a segment, and lanes that do not exist, keep their own value.
template <typename T>
T shuffle(unsigned mask, T value, int source) {
  const std::byte* values = warp_exchange(WarpCall::shuffle, mask, &value, sizeof value);
  if (source < 0 || source >= warp_lanes()) return value;
  std::memcpy(&value, values + static_cast<std::size_t>(source) * warp_slot_bytes, sizeof value);
  return value;
}

}  // namespace emulated

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int segment = emulated::lane() / width * width;
  return emulated::shuffle(mask, value, segment + (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int source = emulated::lane() ^ bits;
  return emulated::shuffle(mask, value, source / width > emulated::lane() / width ? -1 : source);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = emulated::lane() + static_cast<int>(delta);
  return emulated::shuffle(mask, value, source / width != emulated::lane() / width ? -1 : source);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = emulated::lane() - static_cast<int>(delta);
  return emulated::shuffle(mask, value, source < emulated::lane() / width * width ? -1 : source);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const unsigned char mine = predicate != 0;
  const std::byte* all =
      emulated::warp_exchange(emulated::WarpCall::ballot, mask, &mine, sizeof mine);
  unsigned votes = 0;
  for (int i = 0; i < emulated::warp_lanes(); ++i) {
    votes |= std::to_integer<unsigned>(all[i * emulated::warp_slot_bytes]) << i;
  }
  return votes & mask;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
// Products and sums that are never fused with what follows: the compiler cannot see through the
// empty statement.
inline float __fmul_rn(float x, float y) {
  float product = x * y;
  asm("" : "+x"(product));
  return product;
}
inline float __fadd_rn(float x, float y) {
  float sum = x + y;
  asm("" : "+x"(sum));
  return sum;
}
inline float __fsub_rn(float x, float y) {
  return __fadd_rn(x, -y);
}
inline float __fmaf_rn(float x, float y, float z) {
  return std::fma(x, y, z);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>(std::uint64_t{x} * y >> 32);
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, T value) {
  *address = value;
}

// As in device code, where these are known without std::.
template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
