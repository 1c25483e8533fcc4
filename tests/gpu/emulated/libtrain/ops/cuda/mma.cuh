#pragma once

// Stands before libtrain/ops/cuda/mma.cuh on the emulation's include path: the same functions for
// the host, written from the fragment layouts that the PTX ISA documents (mma.m16n8k16, ldmatrix,
// cp.async). A copy lands when it is waited for, so that code which reads too early reads nothing.

#include <cuda_runtime.h>

namespace train::cuda {

struct Fragment {
  unsigned at[4];
};

Fragment load_matrices(const void* row);
Fragment load_matrices_transposed(const void* row);
void multiply_add(float (&c)[4], const Fragment& a, unsigned b0, unsigned b1);
unsigned pack_bf16(float low, float high);
void copy_async(void* shared, const void* global, bool valid);
void copies_wait();

}  // namespace train::cuda
