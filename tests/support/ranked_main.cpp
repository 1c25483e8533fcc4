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
#include "tests/support/ranked.hpp"

namespace train {
namespace {

// doctest calls test cases without arguments, so this reaches them from main() by name.
std::function<void(const std::function<void(Communicator&)>&)> run_ranked;

constexpr std::chrono::minutes test_timeout{1};

struct Options {
  std::string backend = "local";
  int ranks = 1;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view flag = argv[i];
    const std::string_view value = argv[i + 1];
    if (flag == "--backend") options.backend = value;
    if (flag != "--ranks") continue;
    const auto end = value.data() + value.size();
    const auto [stop, code] = std::from_chars(value.data(), end, options.ranks);
    if (code != std::errc() || stop != end || options.ranks < 1) {
      throw Error("--ranks takes a positive number, got '" + std::string(value) + "'");
    }
  }
  if (options.backend != "local" && options.backend != "mpi") {
    throw Error("--backend takes local or mpi, got '" + options.backend + "'");
  }
  return options;
}

int run_local(doctest::Context& context, int ranks) {
  run_ranked = [ranks](const auto& body) {
    local::run(ranks, [&](Communicator& world) {
      world.set_timeout(test_timeout);
      body(world);
    });
  };
  return context.run();
}

int run_mpi(doctest::Context& context) {
  mpi::Environment environment;
  auto& world = environment.world();
  world.set_timeout(test_timeout);
  // A group per test case: one that a case leaves broken does not spoil the next.
  run_ranked = [&](const auto& body) { body(*world.split(0, world.rank(), "world")); };
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
    const auto options = train::parse(argc, argv);
    return options.backend == "mpi" ? train::run_mpi(context)
                                    : train::run_local(context, options.ranks);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return EXIT_FAILURE;
  }
}
