// Bandwidth of the collectives beside that of the MPI library, call by call in turn, so that both
// see the same machine. Run: launch/mpirun_local 2 build/bin/collectives_bench [MIB_MAX]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "collectives/communicator.hpp"
#include "collectives/mpi/environment.hpp"
#include "tests/bench/mpi_peer.hpp"

namespace train::bench {
namespace {

struct Case {
  const char* name;
  /// Bytes that each rank must send, as a multiple of the message.
  double share;
  std::function<void(std::span<float>)> ours, theirs;
};

double seconds_of(const std::function<void(std::span<float>)>& call, std::span<float> values) {
  mpi_barrier();
  const auto began = Clock::now();
  call(values);
  return std::chrono::duration<double>(Clock::now() - began).count();
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Prints one line on rank 0.
void compare(const Case& each, std::span<float> values, int rank) {
  std::ranges::fill(values, 0.0f);
  const auto bytes = values.size_bytes();
  const int rounds = bytes > (8u << 20) ? 9 : bytes > (256u << 10) ? 31 : 101;
  std::vector<double> ours, theirs;
  for (int round = -2; round < rounds; ++round) {
    const double our_seconds = seconds_of(each.ours, values);
    const double their_seconds = seconds_of(each.theirs, values);
    if (round < 0) continue;  // memory is touched for the first time
    ours.push_back(our_seconds);
    theirs.push_back(their_seconds);
  }
  const double our_median = median(ours), their_median = median(theirs);
  if (rank != 0) return;
  fmt::print("{:<15}{:>10} KiB{:>12.1f} us{:>12.1f} us{:>9.2f}{:>9.2f} GB/s{:>8.2f}\n", each.name,
             bytes >> 10, our_median * 1e6, their_median * 1e6,
             each.share * static_cast<double>(bytes) / our_median * 1e-9,
             each.share * static_cast<double>(bytes) / their_median * 1e-9,
             their_median / our_median);
  std::fflush(stdout);
}

std::vector<Case> cases_of(Communicator& world) {
  const auto block = [&world](std::span<float> values) {
    const auto count = values.size() / static_cast<std::size_t>(world.size());
    return values.subspan(count * static_cast<std::size_t>(world.rank()), count);
  };
  const auto counts = [&world](std::span<float> values) {
    const auto size = static_cast<std::size_t>(world.size());
    return std::vector<std::size_t>(size, values.size() / size);
  };
  const double share = (world.size() - 1.0) / world.size();
  return {
      {"all_reduce", 2 * share,
       [&world](auto values) { world.all_reduce(values, values, ReduceOp::sum).wait(); },
       mpi_all_reduce},
      {"reduce_scatter", share,
       [&world, block, counts](auto values) {
         world.reduce_scatter(values, block(values), counts(values), ReduceOp::sum).wait();
       },
       mpi_reduce_scatter},
      {"all_gather", share,
       [&world, block, counts](auto values) {
         world.all_gather(block(values), values, counts(values)).wait();
       },
       mpi_all_gather},
  };
}

void run(std::size_t bytes_max) {
  mpi::Environment environment;
  auto& world = environment.world();
  const auto size = static_cast<std::size_t>(world.size());
  if (world.rank() == 0) {
    fmt::print("{} ranks, f32, medians\n{:<15}{:>14}{:>15}{:>15}{:>9}{:>14}{:>8}\n", world.size(),
               "", "message", "ours", "MPI's", "ours", "MPI's", "ratio");
  }
  for (const auto& each : cases_of(world)) {
    for (std::size_t bytes = 1 << 10; bytes <= bytes_max; bytes *= 4) {
      std::vector<float> values((bytes / sizeof(float) + size - 1) / size * size);
      compare(each, values, world.rank());
    }
  }
}

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) {
  try {
    const long mebibytes = argc > 1 ? std::atol(argv[1]) : 64;
    if (mebibytes < 1) throw std::runtime_error("usage: collectives_bench [MIB_MAX]");
    train::bench::run(static_cast<std::size_t>(mebibytes) << 20);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return EXIT_FAILURE;
  }
}
