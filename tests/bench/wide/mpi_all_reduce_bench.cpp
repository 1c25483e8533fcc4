// The MPI library's own all-reduce of VALUES floats, twice; rank 0 prints the seconds of each.
//
//   mpirun … mpi_all_reduce_bench VALUES
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "collectives/mpi/environment.hpp"
#include "collectives/standard_streams.hpp"
#include "tests/bench/mpi_peer.hpp"

namespace {

void run(std::size_t count) {
  train::mpi::Environment environment;
  std::vector<float> values(count, 1.0f);
  for (int round = 0; round < 2; ++round) {
    train::bench::mpi_barrier();
    const auto began = std::chrono::steady_clock::now();
    train::bench::mpi_all_reduce(values);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    if (environment.world().rank() == 0) fmt::print("{}\n", took.count());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc == 2 ? std::stoull(argv[1]) : 100'000'000);
  } catch (const std::exception& error) {
    train::log_line(fmt::format("mpi_all_reduce_bench: {}", error.what()));
    return 1;
  }
}
