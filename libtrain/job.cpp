#include "libtrain/job.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

#include <fmt/format.h>
#include <unistd.h>

#include "collectives/mpi/environment.hpp"
#include "collectives/standard_streams.hpp"
#include "libtrain/agreement.hpp"

namespace train {
namespace {

// NCCL refuses two ranks on one GPU of one node. Ranks that say that they are on different nodes
// talk over sockets, which works; those that have a GPU each say the same, and talk as ever.
void pretend_node(int number) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  setenv("NCCL_HOSTID", fmt::format("{}-{}", host, number).c_str(), /*replace=*/0);
}

std::string said_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) == nullptr) return error.what();
  return "out of memory: this machine has less than the model, the batch or the data ask for";
}

// Where one rank fails, all do: the others would wait for it.
void together(Communicator& world, const std::function<void()>& work) {
  std::string failure;
  try {
    work();
  } catch (const Error& error) {
    failure = error.what();
  }
  if (const std::string said = first_said(world, failure); !said.empty()) throw Error(said);
}

}  // namespace

Job::Job(int argc, char** argv)
    : argc_(argc),
      argv_(argv),
      mpi_(std::make_unique<mpi::Environment>()),
      errors_(std::make_unique<ErrorReport>(mpi_->world())) {}

Job::~Job() = default;

Communicator& Job::world() const {
  return mpi_->world();
}

NodePlace Job::place_on_node() const {
  return {mpi_->local_rank(), mpi_->local_size()};
}

Grid Job::grid(const GridOptions& options) const {
  GridOptions own = options;
  std::unique_ptr<Device> device;
  together(world(), [&] { own.threads = threads_per_rank(options, place_on_node().ranks); });
  own.threads = fewest_threads(world(), options, own.threads);
  together(world(), [&] { device = make_device(own, place_on_node()); });
  if (device->gpu()) {
    if (!options.share_gpu) {
      require_own_gpus(world(), identity_of_cuda_device(device->gpu()->index));
    } else {
      pretend_node(ranks_before_on_gpu(place_on_node(), count_cuda_devices()));
    }
  }
  return {world(), options, std::move(device)};
}

int Job::fail(const std::exception& error) {
  const std::string message = said_of(error);
  const ErrorReport::Verdict verdict = errors_->agree(message);
  if (verdict.print) {
    const std::string where = size() > 1 ? fmt::format(" (rank {} of {})", rank(), size()) : "";
    log_line(fmt::format("error: {}{}", message, where));
  }
  std::fflush(stdout);
  if (!verdict.everybody_failed) mpi_->abort(1);
  return 1;
}

int run(int argc, char** argv, const std::function<int(Job&)>& program) {
  occupy_standard_descriptors();
  std::unique_ptr<Job> job;
  try {
    job = std::make_unique<Job>(argc, argv);
  } catch (const std::exception& error) {
    log_line(fmt::format("error: {}", said_of(error)));
    return 1;
  }
  try {
    return program(*job);
  } catch (const std::exception& error) {
    return job->fail(error);
  }
}

}  // namespace train
