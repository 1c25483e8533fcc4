#pragma once

#include <cuda_runtime.h>

// The instructions of tensor cores and asynchronous copies that CUDA C++ has no functions for: the
// only place with PTX. Fragments are laid out as the PTX ISA documents them; with g = lane / 4 and
// t = lane % 4, a lane holds
//   of A[16,16]  rows g, g + 8 and columns 2t, 2t + 1, 2t + 8, 2t + 9,
//   of B[16,8]   rows 2t, 2t + 1, 2t + 8, 2t + 9 and column g,
//   of C[16,8]   rows g, g + 8 and columns 2t, 2t + 1.
namespace train::cuda {

/// Four 8×8 matrices of bf16, a row's two neighbours per register: A of a product, or B of two.
struct Fragment {
  unsigned at[4];
};

__device__ __forceinline__ unsigned shared_address(const void* address) {
  return static_cast<unsigned>(__cvta_generic_to_shared(address));
}

/// Loads four 8×8 matrices of bf16 from shared memory: lane i names row i % 8 (16 bytes) of matrix
/// i / 8. Each lane gets elements 2t, 2t + 1 of row g. All lanes take part.
__device__ __forceinline__ Fragment load_matrices(const void* row) {
  Fragment to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.at[0]), "=r"(to.at[1]), "=r"(to.at[2]), "=r"(to.at[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}

/// The same, transposed: each lane gets elements g of rows 2t, 2t + 1.
__device__ __forceinline__ Fragment load_matrices_transposed(const void* row) {
  Fragment to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.at[0]), "=r"(to.at[1]), "=r"(to.at[2]), "=r"(to.at[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}

/// c[16,8] += a[16,16] · b[16,8], sums in f32. All lanes take part.
__device__ __forceinline__ void multiply_add(float (&c)[4], const Fragment& a, unsigned b0,
                                             unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b0), "r"(b1));
}

/// Two bf16, rounded to nearest even; `low` has the lower address.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// Starts a copy of 16 bytes to shared memory, or of zeros where `valid` is false; both addresses
/// are aligned to 16. Its own thread sees it after copies_wait, others after a barrier behind that.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}

/// Waits for all copies that the thread has started.
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

}  // namespace train::cuda
