#include "collectives/mpi/requests.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "collectives/mpi/calls.hpp"
#include "collectives/work.hpp"

namespace train::mpi {
namespace {

// A matched message of a live peer completes within this; one that does not has a peer that hangs.
constexpr std::chrono::milliseconds cancel_grace{200};

}  // namespace

void Requests::send(MPI_Comm comm, const void* data, std::size_t bytes, int peer, int tag) {
  for (std::size_t done = 0; done < bytes || done == 0; done += message_bytes_max) {
    const auto length = std::min(message_bytes_max, bytes - done);
    requests_.push_back(isend(comm, static_cast<const std::byte*>(data) + done, length, peer, tag));
    entries_.push_back({peer, false});
    if (bytes == 0) return;
  }
}

void Requests::receive(MPI_Comm comm, void* data, std::size_t bytes, int peer, int tag) {
  for (std::size_t done = 0; done < bytes || done == 0; done += message_bytes_max) {
    const auto length = std::min(message_bytes_max, bytes - done);
    requests_.push_back(irecv(comm, static_cast<std::byte*>(data) + done, length, peer, tag));
    entries_.push_back({peer, true});
    if (bytes == 0) return;
  }
}

bool Requests::test_all() {
  if (requests_.empty()) return true;
  statuses_.resize(requests_.size());
  int complete = 0;
  const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &complete,
                               statuses_.data());
  if (code == MPI_ERR_IN_STATUS) {
    for (const auto& status : statuses_) {
      if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, "MPI_Testall");
    }
  }
  check(code, "MPI_Testall");
  if (!complete) return false;
  requests_.clear();
  entries_.clear();
  return true;
}

std::vector<int> Requests::unfinished_peers() {
  std::vector<int> peers;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (!test(requests_[i])) peers.push_back(entries_[i].peer);
  }
  std::ranges::sort(peers);
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  return peers;
}

void Requests::cancel() noexcept {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL && entries_[i].is_receive) MPI_Cancel(&requests_[i]);
  }
  // Open MPI cannot cancel sends. Small ones have left already; a large one that its receiver has
  // not asked for touches its buffer no more.
  const auto limit = Clock::now() + cancel_grace;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    int complete = 0;
    while (MPI_Test(&requests_[i], &complete, MPI_STATUS_IGNORE) == MPI_SUCCESS && !complete &&
           entries_[i].is_receive && Clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  requests_.clear();
  entries_.clear();
}

}  // namespace train::mpi
