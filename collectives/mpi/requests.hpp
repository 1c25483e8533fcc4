#pragma once

#include <cstddef>
#include <vector>

#include <mpi.h>

namespace train::mpi {

/// Transfers under way. Those that are unfinished when it ends are cancelled, so that nothing
/// arrives in memory that its owner has taken back.
class Requests {
 public:
  Requests() = default;
  Requests(Requests&&) noexcept = default;
  Requests& operator=(Requests&&) = delete;
  Requests(const Requests&) = delete;
  ~Requests() { cancel(); }

  void send(MPI_Comm comm, const void* data, std::size_t bytes, int peer, int tag);
  void receive(MPI_Comm comm, void* data, std::size_t bytes, int peer, int tag);
  /// Makes progress; true when all are complete.
  bool test_all();
  /// Peers of transfers that are not complete, ascending, each once.
  std::vector<int> unfinished_peers();
  void cancel() noexcept;

 private:
  struct Entry {
    int peer = 0;
    bool is_receive = false;
  };
  std::vector<MPI_Request> requests_;
  std::vector<Entry> entries_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace train::mpi
