// Runs seeded schedules of a job of several clusters against the protocol, with its invariants
// checked at every event. Usage: simulator [--seeds N] [--first N] | --seed N [--verbose]
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "collectives/standard_streams.hpp"
#include "tests/wide/simulator/world.hpp"

namespace {

using train::wide::sim::Violation;
using train::wide::sim::World;

struct Options {
  std::uint64_t first = 1, seeds = 1000;
  bool verbose = false;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--verbose") {
      options.verbose = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0') return false;
    if (flag == "--seed") {
      options.first = value;
      options.seeds = 1;
    } else if (flag == "--first") {
      options.first = value;
    } else if (flag == "--seeds") {
      options.seeds = value;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    train::log_line("usage: simulator [--first N] [--seeds N] | --seed N [--verbose]");
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t failures = 0, events = 0, commits = 0, retries = 0, rollbacks = 0, late = 0;
  for (std::uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    World world(seed, options.verbose);
    try {
      world.run();
    } catch (const Violation& violation) {
      fmt::print("seed {} at {:.3f} s: {}\n", seed, static_cast<double>(world.now_ms()) / 1000,
                 violation.what());
      ++failures;
    }
    events += world.events();
    commits += world.checks().commits();
    retries += world.checks().retries();
    rollbacks += world.checks().rollbacks();
    late += world.checks().too_late();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fmt::print(
      "{} seeds in {:.1f} s: {} events, {} commits, {} retries, {} rollbacks, {} came too late, "
      "{} failures\n",
      options.seeds, took.count(), events, commits, retries, rollbacks, late, failures);
  return failures == 0 ? 0 : 1;
}
