#include "tests/gpu/emulated/libtrain/ops/cuda/mma.cuh"

#include <cstring>
#include <map>
#include <vector>

#include "collectives/types.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"

namespace train::cuda {
namespace {

constexpr int lanes = 32;

float low(unsigned pair) {
  return __uint_as_float(pair << 16);
}
float high(unsigned pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

// What the lanes brought, lane after lane.
template <typename Value>
class Lanes {
 public:
  explicit Lanes(const Value& mine)
      : all_(emulated::warp_exchange(emulated::WarpCall::matrix, ~0u, &mine, sizeof mine)) {
    if (emulated::warp_lanes() != lanes) emulated::fail("a matrix product without all 32 lanes");
  }
  Value operator[](int lane) const {
    Value value;
    std::memcpy(&value, all_ + static_cast<std::size_t>(lane) * emulated::warp_slot_bytes,
                sizeof value);
    return value;
  }

 private:
  const std::byte* all_;
};

// Element (row, column) of 8×8 matrix `matrix`, whose rows' addresses the lanes gave.
unsigned element(const Lanes<const std::uint16_t*>& rows, int matrix, int row, int column) {
  return rows[matrix * 8 + row][column];
}

Lanes<const std::uint16_t*> rows_of(const void* row) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    emulated::fail("ldmatrix: a row is not aligned to 16 bytes");
  }
  return Lanes<const std::uint16_t*>(static_cast<const std::uint16_t*>(row));
}

struct Pending {
  void* shared;
  const void* global;
  bool valid;
};

// Copies under way, by thread of the block that runs.
std::map<int, std::vector<Pending>>& pending() {
  static thread_local std::map<int, std::vector<Pending>> copies;
  return copies;
}

int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

}  // namespace

Fragment load_matrices(const void* row) {
  const auto rows = rows_of(row);
  const int g = emulated::lane() / 4, t = emulated::lane() % 4;
  Fragment to;
  for (int i = 0; i < 4; ++i) {
    to.at[i] = element(rows, i, g, 2 * t) | element(rows, i, g, 2 * t + 1) << 16;
  }
  // The rows may be written again as soon as any lane goes on.
  __syncwarp();
  return to;
}

Fragment load_matrices_transposed(const void* row) {
  const auto rows = rows_of(row);
  const int g = emulated::lane() / 4, t = emulated::lane() % 4;
  Fragment to;
  for (int i = 0; i < 4; ++i) {
    to.at[i] = element(rows, i, 2 * t, g) | element(rows, i, 2 * t + 1, g) << 16;
  }
  __syncwarp();
  return to;
}

void multiply_add(float (&c)[4], const Fragment& a, unsigned b0, unsigned b1) {
  struct Operands {
    Fragment a;
    unsigned b[2];
  };
  const Lanes<Operands> all({a, {b0, b1}});
  const int g = emulated::lane() / 4, t = emulated::lane() % 4;
  for (int lane = 0; lane < 4; ++lane) {  // along k: columns 2 lane, 2 lane + 1 and those 8 on
    const Fragment left = all[g * 4 + lane].a;
    for (int column = 0; column < 2; ++column) {
      const Operands right = all[(2 * t + column) * 4 + lane];
      for (int half = 0; half < 2; ++half) {  // of k
        const unsigned b = right.b[half];
        for (int row = 0; row < 2; ++row) {  // g, g + 8
          const unsigned pair = left.at[half * 2 + row];
          c[row * 2 + column] += low(pair) * low(b) + high(pair) * high(b);
        }
      }
    }
  }
}

unsigned pack_bf16(float low, float high) {
  return BFloat16(low).bits | static_cast<unsigned>(BFloat16(high).bits) << 16;
}

void copy_async(void* shared, const void* global, bool valid) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % 16 != 0) {
    emulated::fail("cp.async: an address is not aligned to 16 bytes");
  }
  pending()[thread_of_block()].push_back({shared, global, valid});
}

void copies_wait() {
  for (const Pending& copy : pending()[thread_of_block()]) {
    if (copy.valid) {
      std::memcpy(copy.shared, copy.global, 16);
    } else {
      std::memset(copy.shared, 0, 16);
    }
  }
  pending()[thread_of_block()].clear();
}

}  // namespace train::cuda
