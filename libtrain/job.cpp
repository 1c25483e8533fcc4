#include "libtrain/job.hpp"

#include <cstdio>

#include <fmt/format.h>

#include "collectives/mpi/environment.hpp"

namespace train {

Job::Job(int argc, char** argv)
    : argc_(argc),
      argv_(argv),
      mpi_(std::make_unique<mpi::Environment>()),
      errors_(std::make_unique<ErrorReport>(mpi_->world())) {}

Job::~Job() = default;

Communicator& Job::world() const {
  return mpi_->world();
}

int Job::ranks_on_node() const {
  return mpi_->local_size();
}

Grid Job::grid(const GridOptions& options) const {
  return {world(), options, make_device(options, ranks_on_node())};
}

int Job::fail(const std::exception& error) {
  const ErrorReport::Verdict verdict = errors_->agree(error.what());
  if (verdict.print) {
    const std::string where = size() > 1 ? fmt::format(" (rank {} of {})", rank(), size()) : "";
    fmt::print(stderr, "error: {}{}\n", error.what(), where);
    std::fflush(stderr);
  }
  std::fflush(stdout);
  if (!verdict.everybody_failed) mpi_->abort(1);
  return 1;
}

int run(int argc, char** argv, const std::function<int(Job&)>& program) {
  std::unique_ptr<Job> job;
  try {
    job = std::make_unique<Job>(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  try {
    return program(*job);
  } catch (const std::exception& error) {
    return job->fail(error);
  }
}

}  // namespace train
