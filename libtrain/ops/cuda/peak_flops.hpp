#pragma once

#include "collectives/types.hpp"

namespace train::cuda {

/// What a kind of GPU is told by.
struct GpuKind {
  int capability = 0;  ///< 10 major + minor
  int multiprocessors = 0;
  double clock_hz = 0.0;  ///< the highest
};

GpuKind kind_of(int device);

/// FLOP/s of dense matrix products of f32 (without TF32) or bf16 with sums in f32, by the maker's
/// data sheet; of kinds that the table lacks, by what a multiprocessor of that generation does per
/// clock. 0 where neither is known. Sources: NVIDIA's data sheets of A100, H100, L4, L40S, A10, A40
/// and B200; architecture white papers of GA100, GA102, AD102 and GH100.
double peak_flops(const GpuKind& kind, DataType type);

}  // namespace train::cuda
