#include "tests/bench/mpi_peer.hpp"

#include <mpi.h>

namespace train::bench {
namespace {

int block_of(std::span<float> values) {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return static_cast<int>(values.size()) / size;
}

}  // namespace

void mpi_barrier() {
  MPI_Barrier(MPI_COMM_WORLD);
}

void mpi_all_reduce(std::span<float> values) {
  MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT, MPI_SUM,
                MPI_COMM_WORLD);
}

void mpi_reduce_scatter(std::span<float> values) {
  MPI_Reduce_scatter_block(MPI_IN_PLACE, values.data(), block_of(values), MPI_FLOAT, MPI_SUM,
                           MPI_COMM_WORLD);
}

void mpi_all_gather(std::span<float> values) {
  MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data(), block_of(values), MPI_FLOAT,
                MPI_COMM_WORLD);
}

}  // namespace train::bench
