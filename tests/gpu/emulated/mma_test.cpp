#include "libtrain/ops/cuda/mma.cuh"

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/types.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"
#include "libtrain/tensor/cuda/launch.cuh"

// The emulated instructions of tensor cores against plain products. Where fragments are filled by
// hand here, it is by the formulas of the PTX ISA (9.7.14, mma.m16n8k16 and ldmatrix).
namespace train::cuda {
namespace {

constexpr int m = 16, n = 8, k = 16, lanes = 32;

std::vector<BFloat16> numbers(int count, int seed) {
  std::vector<BFloat16> values;
  for (int i = 0; i < count; ++i) {
    values.emplace_back(static_cast<float>((i * 37 + seed * 11) % 61 - 30) / 8.0f);
  }
  return values;
}

// c[m,n] = a[m,k] · b[n,k]ᵀ, where b may be given as [k,n].
std::vector<float> product(const std::vector<BFloat16>& a, const std::vector<BFloat16>& b,
                           bool b_by_rows_of_k) {
  std::vector<float> c(m * n);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      for (int i = 0; i < k; ++i) {
        const BFloat16 factor = b_by_rows_of_k ? b[i * n + column] : b[column * k + i];
        c[row * n + column] += static_cast<float>(a[row * k + i]) * static_cast<float>(factor);
      }
    }
  }
  return c;
}

// The results of a kernel of one warp that reads a and b and writes c.
class Warp {
 public:
  template <typename T>
  T* copy(const std::vector<T>& values) {
    void* block = memory_.allocate(values.size() * sizeof(T));
    memory_.copy_from_host(block, values.data(), values.size() * sizeof(T));
    return static_cast<T*>(block);
  }
  std::vector<float> run(void (*kernel)(const BFloat16*, const BFloat16*, float*),
                         const std::vector<BFloat16>& a, const std::vector<BFloat16>& b) {
    std::vector<float> c(m * n, -1.0f);
    float* result = copy(c);
    LaunchShape shape;
    shape.block = dim3(lanes);
    shape.shared_bytes = 4096;
    launch(kernel, shape, memory_.stream(), copy(a), copy(b), result);
    memory_.copy_to_host(c.data(), result, c.size() * sizeof(float));
    return c;
  }

 private:
  CudaMemory memory_{0};
};

int row_of(int lane, int i) {
  return lane / 4 + (i < 2 ? 0 : 8);
}
int column_of(int lane, int i) {
  return lane % 4 * 2 + i % 2;
}

void write(float* c, const float (&sums)[4]) {
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 4; ++i) c[row_of(lane, i) * n + column_of(lane, i)] = sums[i];
}

unsigned pair(BFloat16 low, BFloat16 high) {
  return low.bits | static_cast<unsigned>(high.bits) << 16;
}

// Fragments by the documented formulas for ai and bi.
void by_hand(const BFloat16* a, const BFloat16* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x), group = lane >> 2, in_group = lane % 4;
  const auto a_at = [&](int i) {
    const int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    const int column = in_group * 2 + (i & 1) + (i < 4 ? 0 : 8);
    return a[row * k + column];
  };
  const auto b_at = [&](int i) {
    const int row = in_group * 2 + (i & 1) + (i < 2 ? 0 : 8);
    return b[group * k + row];
  };
  Fragment left;
  for (int i = 0; i < 4; ++i) left.at[i] = pair(a_at(2 * i), a_at(2 * i + 1));
  float sums[4] = {};
  multiply_add(sums, left, pair(b_at(0), b_at(1)), pair(b_at(2), b_at(3)));
  write(c, sums);
}

template <int rows, int columns>
const BFloat16* share(const BFloat16* from, std::size_t offset_bytes) {
  auto* to = reinterpret_cast<BFloat16*>(dynamic_shared() + offset_bytes);
  for (int i = static_cast<int>(threadIdx.x) * 8; i < rows * columns; i += lanes * 8) {
    copy_async(to + i, from + i, true);
  }
  copies_wait();
  __syncthreads();
  return to;
}

// Both factors through ldmatrix: matrices of a in the order of a's registers, b as [n,k].
void loaded(const BFloat16* a, const BFloat16* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x);
  const BFloat16* left = share<m, k>(a, 0);
  const BFloat16* right = share<n, k>(b, 1024);
  const Fragment fragment = load_matrices(left + lane % 16 * k + lane / 16 * 8);
  const Fragment factor = load_matrices(right + lane % 8 * k + lane / 8 % 2 * 8);
  float sums[4] = {};
  multiply_add(sums, fragment, factor.at[0], factor.at[1]);
  write(c, sums);
}

// b as [k,n], read transposed.
void loaded_transposed(const BFloat16* a, const BFloat16* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x);
  const BFloat16* left = share<m, k>(a, 0);
  const BFloat16* right = share<k, n>(b, 1024);
  const Fragment fragment = load_matrices(left + lane % 16 * k + lane / 16 * 8);
  const Fragment factor = load_matrices_transposed(right + lane % 16 * n);
  float sums[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  multiply_add(sums, fragment, factor.at[0], factor.at[1]);
  for (float& sum : sums) sum -= 1.0f;
  write(c, sums);
}

TEST_CASE("a product of fragments is the product of the matrices that the PTX ISA says they are") {
  const auto a = numbers(m * k, 1), b = numbers(n * k, 2);
  CHECK(Warp().run(by_hand, a, b) == product(a, b, false));
}

TEST_CASE("matrices from shared memory, plain and transposed, fill fragments") {
  const auto a = numbers(m * k, 3), b = numbers(n * k, 4);
  CHECK(Warp().run(loaded, a, b) == product(a, b, false));
  CHECK(Warp().run(loaded_transposed, a, b) == product(a, b, true));
}

// c: what a lane sees before and after it waits, and what an invalid copy leaves.
void copying(const BFloat16* a, const BFloat16*, float* c) {
  auto* shared = reinterpret_cast<float*>(dynamic_shared());
  if (threadIdx.x == 0) {
    for (int i = 0; i < 8; ++i) shared[i] = 7.0f;
    copy_async(shared, a, true);
    copy_async(shared + 4, a, false);
    for (int i = 0; i < 8; ++i) c[i] = shared[i];
    copies_wait();
    for (int i = 0; i < 8; ++i) c[8 + i] = shared[i];
  }
}

TEST_CASE("an asynchronous copy lands when it is waited for, and an invalid one brings zeros") {
  std::vector<BFloat16> a(m * k);
  const float numbers_of_a[4] = {1.5f, -2.0f, 3.25f, 4.0f};
  std::memcpy(a.data(), numbers_of_a, sizeof numbers_of_a);
  const std::vector<float> c = Warp().run(copying, a, a);
  for (int i = 0; i < 8; ++i) CHECK(c[i] == 7.0f);
  for (int i = 0; i < 4; ++i) {
    CHECK(c[8 + i] == numbers_of_a[i]);
    CHECK(c[12 + i] == 0.0f);
  }
}

TEST_CASE("a pair of bf16 is rounded to nearest even, the first in the lower half") {
  CHECK(pack_bf16(1.0f, -2.0f) == 0xc0003f80u);
  CHECK(pack_bf16(1.00390625f, 1.01171875f) == 0x3f823f80u);  // ties
}

}  // namespace
}  // namespace train::cuda
