#define DOCTEST_CONFIG_IMPLEMENT
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"
#include "collectives/mpi/environment.hpp"
#include "tests/support/nccl_ranks.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

// doctest calls test cases without arguments, so this reaches them from main() by name.
std::function<void(const std::function<void(Communicator&)>&)> run_ranked;

constexpr std::chrono::minutes test_timeout{1};

struct Options {
  std::string backend = "local";
  int ranks = 0;  // 0: not given
  nccl::Sums sums = nccl::Sums::ordered;
};

nccl::Sums parse_sums(std::string_view name) {
  if (name == "native") return nccl::Sums::native;
  if (name == "precise") return nccl::Sums::precise;
  if (name == "ordered") return nccl::Sums::ordered;
  throw Error("--sums takes native, precise or ordered, got '" + std::string(name) + "'");
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view flag = argv[i];
    const std::string_view value = argv[i + 1];
    if (flag == "--backend") options.backend = value;
    if (flag == "--sums") options.sums = parse_sums(value);
    if (flag != "--ranks") continue;
    const auto end = value.data() + value.size();
    const auto [stop, code] = std::from_chars(value.data(), end, options.ranks);
    if (code != std::errc() || stop != end || options.ranks < 1) {
      throw Error("--ranks takes a positive number, got '" + std::string(value) + "'");
    }
  }
  if (options.backend != "local" && options.backend != "mpi" && options.backend != "nccl") {
    throw Error("--backend takes local, mpi or nccl, got '" + options.backend + "'");
  }
  return options;
}

using Body = std::function<void(Communicator&)>;

// With --backend nccl: `body` on a group over `host`. Ranks share GPUs if there are too few, which
// NCCL accepts from ranks whose NCCL_HOSTID differs.
void run_on_gpu(Communicator& host, int place, nccl::Sums sums, const Body& body) {
  const auto ranks = make_gpu_ranks(host, place % gpu_count(), sums);
  body(*ranks);
}

int run_local(doctest::Context& context, const Options& options) {
  run_ranked = [&options](const auto& body) {
    local::run(options.ranks, [&](Communicator& world) {
      world.set_timeout(test_timeout);
      if (options.backend != "nccl") return body(world);
      run_on_gpu(world, world.rank(), options.sums, body);
    });
  };
  return context.run();
}

int run_mpi(doctest::Context& context, const Options& options) {
  mpi::Environment environment;
  auto& world = environment.world();
  world.set_timeout(test_timeout);
  // A group per test case: one that a case leaves broken does not spoil the next.
  run_ranked = [&](const auto& body) {
    if (options.backend != "nccl") return body(*world.split(0, world.rank(), "world"));
    run_on_gpu(world, environment.local_rank(), options.sums, body);
  };
  context.setOption("no-colors", true);
  // One report on the screen, unless another rank has something to say.
  std::ostringstream report;
  if (world.rank() != 0) context.setCout(&report);
  const int code = context.run();
  if (world.rank() != 0 && code != 0) {
    std::cerr << "rank " << world.rank() << " of " << world.size() << ":\n" << report.str();
  }
  return code;
}

}  // namespace

void ranked(const std::function<void(Communicator&)>& body) {
  run_ranked(body);
}

}  // namespace train

int main(int argc, char** argv) {
  try {
    doctest::Context context(argc, argv);
    auto options = train::parse(argc, argv);
    // Ranks of nccl are threads if their number is given, and else what mpirun started.
    const bool threads = options.backend == "nccl" ? options.ranks > 0 : options.backend != "mpi";
    if (options.ranks == 0) options.ranks = 1;
    return threads ? train::run_local(context, options) : train::run_mpi(context, options);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return EXIT_FAILURE;
  }
}
