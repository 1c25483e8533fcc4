#pragma once

#include <span>

namespace train::bench {

/// The same calls made by the MPI library itself, in place, over all ranks; for comparison. MPI
/// must be running. Blocks are even: sizes must be multiples of the count of ranks.
void mpi_barrier();
void mpi_all_reduce(std::span<float> values);
void mpi_reduce_scatter(std::span<float> values);
void mpi_all_gather(std::span<float> values);

}  // namespace train::bench
