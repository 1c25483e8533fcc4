#pragma once

#include <cstdint>

namespace train::detail {

/// A loop of independent f32 multiply-adds in registers.
struct FmaKernel {
  /// Runs `iterations` of the loop; the result only keeps the work from being optimised away.
  float (*run)(std::int64_t iterations) = nullptr;
  double flops_per_iteration = 0;
};

/// The widest that this processor executes. fma_kernel_x86.cpp or fma_kernel_generic.cpp.
FmaKernel widest_fma_kernel();

}  // namespace train::detail
