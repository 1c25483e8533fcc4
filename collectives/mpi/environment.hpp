#pragma once

#include <memory>

#include "collectives/communicator.hpp"

namespace train::mpi {

/// This process's place among those that mpirun started; started without mpirun, a world of one.
/// Make one, first in main(): MPI begins with it and ends with it. Groups that were split off must
/// be gone before it.
class Environment {
 public:
  /// Throws Error if MPI was started already or cannot serve several threads.
  Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  /// Waits for all ranks, then ends MPI. While an exception unwinds, MPI is left as it is: a
  /// process that then exits with a status other than 0 makes mpirun end the job. If the world has
  /// failed, or a rank stays away past the world's timeout, prints why and aborts the job.
  ~Environment();

  Communicator& world();
  /// Place among the ranks on this node, and their number.
  int local_rank() const;
  int local_size() const;

  /// Ends all ranks of the job at once with this status. For errors that cannot unwind.
  [[noreturn]] void abort(int code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace train::mpi
