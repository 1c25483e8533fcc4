#include "collectives/mpi/environment.hpp"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <mpi.h>

#include "collectives/error.hpp"
#include "collectives/mpi/calls.hpp"
#include "collectives/mpi/channel.hpp"
#include "collectives/mpi/tags.hpp"
#include "collectives/mpi/transport.hpp"
#include "collectives/ordered/ordered_communicator.hpp"
#include "collectives/standard_streams.hpp"

namespace train::mpi {
namespace {

constexpr std::chrono::seconds first_report_grace{1};

/// MPI itself, begun and ended. Declared before all that uses it.
class Library {
 public:
  Library() {
    int running = 0;
    check(MPI_Initialized(&running), "MPI_Initialized");
    if (running) {
      throw Error(
          "MPI runs already: a process makes one train::Job (or mpi::Environment), before "
          "anything else starts MPI, and keeps it until it ends");
    }
    int provided = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_MULTIPLE) {
      MPI_Finalize();
      throw Error(
          fmt::format("this MPI grants thread level {}, libtrain needs MPI_THREAD_MULTIPLE "
                      "({}): use an MPI that was built with it",
                      provided, static_cast<int>(MPI_THREAD_MULTIPLE)));
    }
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (finalize) MPI_Finalize();
  }

  bool finalize = true;
};

std::unique_ptr<Communicator> make_world(Channels& channels) {
  auto comm = duplicate(MPI_COMM_WORLD);
  const auto tags = tag_max(comm.get());
  if (tags < tag_needed) {
    throw Error(fmt::format("this MPI allows tags up to {}, libtrain needs {}", tags, tag_needed));
  }
  detail::Membership who{"world", rank_of(comm.get()), size_of(comm.get())};
  return std::make_unique<detail::OrderedCommunicator>(
      std::make_shared<MpiTransport>(channels.make(std::move(comm), std::move(who))));
}

}  // namespace

struct Environment::State {
  const int exceptions_at_birth = std::uncaught_exceptions();
  Library library;
  Channels channels;
  std::unique_ptr<Communicator> world;
  int local_rank = 0;
  int local_size = 1;
};

Environment::Environment() : state_(std::make_unique<State>()) {
  const auto node = split_by_node(MPI_COMM_WORLD, rank_of(MPI_COMM_WORLD));
  state_->local_rank = rank_of(node.get());
  state_->local_size = size_of(node.get());
  state_->world = make_world(state_->channels);
}

Environment::~Environment() {
  bool healthy = std::uncaught_exceptions() <= state_->exceptions_at_birth;
  if (healthy) {
    try {
      // MPI_Finalize knows no deadline: enter it only when all ranks do.
      state_->world->barrier().wait();
    } catch (const std::exception& failure) {
      log_line(fmt::format("libtrain: MPI cannot end in order: {}", failure.what()));
      MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
  }
  state_->world.reset();
  if (healthy) {
    state_->channels.close();
    return;
  }
  state_->channels.abandon();
  state_->library.finalize = false;
  // The first process to exit makes mpirun kill the rest: let the one that failed say why.
  if (state_->channels.heard_of_failure()) std::this_thread::sleep_for(first_report_grace);
}

Communicator& Environment::world() {
  return *state_->world;
}
int Environment::local_rank() const {
  return state_->local_rank;
}
int Environment::local_size() const {
  return state_->local_size;
}

void Environment::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace train::mpi
