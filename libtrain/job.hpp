#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "libtrain/error_report.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

namespace mpi {
class Environment;
}

/// The ranks that one mpirun started: joins them at construction, leaves at destruction. Without
/// mpirun it is a job of one rank.
class Job {
 public:
  Job(int argc, char** argv);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  int argc() const { return argc_; }
  char** argv() const { return argv_; }
  Communicator& world() const;
  int rank() const { return world().rank(); }
  int size() const { return world().size(); }
  int ranks_on_node() const { return place_on_node().ranks; }
  NodePlace place_on_node() const;
  /// Rank 0 is the one that prints and writes files.
  bool is_root() const { return rank() == 0; }

  /// Collective: cuts the ranks into data × tensor, each with a device. On GPUs every rank has one
  /// of its own, unless the options let them share. Throws Error on all ranks when one of them has
  /// no device.
  Grid grid(const GridOptions& options = {}) const;

  /// After a failure on this rank: prints the message unless a lower rank prints the same, and
  /// returns the exit status if all ranks failed. If some have not, ends them with this one.
  int fail(const std::exception& error);

 private:
  int argc_;
  char** argv_;
  std::unique_ptr<mpi::Environment> mpi_;
  std::unique_ptr<ErrorReport> errors_;
};

/// What main() calls: joins the job and runs `program`. An Error on any rank ends the whole job
/// with a non-zero status, within seconds, and its message is printed once, however many ranks met
/// it. Returns the program's exit status otherwise.
int run(int argc, char** argv, const std::function<int(Job&)>& program);

}  // namespace train
