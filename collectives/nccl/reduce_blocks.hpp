#pragma once

#include <cstddef>

#include <cuda_runtime.h>

#include "collectives/types.hpp"

namespace train::nccl {

/// out[i] = block 0 [i] op block 1 [i] op …, from the left, as detail::reduce does on the host and
/// with the same bits: bf16 in f32, rounded once; a NaN in any block wins. `blocks` lie `stride`
/// bytes apart, a multiple of 16, on an address that 16 divides. f32, bf16 and f64 only. In the
/// stream's order. Memory traffic: (blocks + 1) * count elements.
void reduce_blocks(DataType type, ReduceOp op, const std::byte* blocks, std::size_t stride,
                   int block_count, std::byte* out, std::size_t count, cudaStream_t stream);

}  // namespace train::nccl
