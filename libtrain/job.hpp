#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "libtrain/error_report.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

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
  Communicator& world() const { return *world_; }
  int rank() const { return world_->rank(); }
  int size() const { return world_->size(); }
  int ranks_on_node() const;
  /// Rank 0 is the one that prints and writes files.
  bool is_root() const { return rank() == 0; }

  /// Collective: cuts the ranks into data × tensor.
  Grid grid(const GridOptions& options = {}) const;

  /// Ends the program on all ranks after a failure on this one; see run().
  [[noreturn]] void fail(const std::exception& error);

 private:
  struct Mpi;

  int argc_;
  char** argv_;
  std::unique_ptr<Mpi> mpi_;
  std::unique_ptr<Communicator> world_;
  std::unique_ptr<ErrorReport> errors_;
};

/// What main() calls: joins the job and runs `program`. An Error on any rank ends the whole job
/// with a non-zero status, within seconds, and its message is printed once, however many ranks met
/// it. Returns the program's exit status otherwise.
int run(int argc, char** argv, const std::function<int(Job&)>& program);

}  // namespace train
