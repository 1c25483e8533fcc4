#pragma once

#include <string_view>

#include "collectives/types.hpp"

namespace train::cuda {

/// FLOP/s of dense matrix products of f32 (without TF32) or bf16 with sums in f32, by the maker's
/// data sheet, of a GPU that CUDA gives this name. 0 for kinds that the table lacks, and for parts
/// of a GPU, which have its name but fewer multiprocessors: chips of one generation, and cards with
/// one chip, differ by factors of two and more, so that nothing can be reckoned from what else CUDA
/// tells of them. Sources: NVIDIA's data sheets of the kinds in the table; of GeForce, the white
/// papers of GA102 and AD102.
double peak_flops(std::string_view name, int multiprocessors, DataType type);

/// Of this device.
double peak_flops(int device, DataType type);

}  // namespace train::cuda
