#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/gpu/emulated/nccl/call.hpp"

namespace emulated {

/// What the ranks of one communicator share, and where their kernels meet.
class Ring {
 public:
  /// One rank's side, which its kernels hold: it outlives an abort.
  struct Member {
    std::shared_ptr<Ring> ring;
    int rank = 0;
    int device = 0;
    // Under the ring's lock.
    bool aborted = false;
    int kernels_running = 0;
    int kernels_queued = 0;
    std::uint64_t collectives = 0;
  };

  explicit Ring(int ranks) : ranks_(ranks) {}

  int ranks() const { return ranks_; }
  /// A rank comes to the ring; false if its place or its device is taken.
  bool join(int rank, int device);
  bool complete();
  void abort(Member& member);
  bool idle(const Member& member);
  void queue(Member& member);

  /// A kernel: all calls at once, each with the other ranks'. Returns early when aborted.
  void run(const std::shared_ptr<Member>& member, const std::vector<NcclCall>& calls);
  /// Wakes kernels that look whether they are stalled.
  void wake();

 private:
  struct Meeting {
    std::vector<NcclCall> calls;
    int arrived = 0, computed = 0, left = 0;
  };
  struct Letter {
    NcclCall call;
    bool taken = false;
  };
  using Lock = std::unique_lock<std::mutex>;

  /// False when the member was aborted first.
  bool wait(Lock& lock, Member& member, const std::function<bool()>& ready);
  bool finish(Lock& lock, Member& member, std::uint64_t number, const NcclCall& call);
  bool take(Lock& lock, Member& member, const NcclCall& call);

  const int ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<int> joined_, devices_;
  std::map<std::uint64_t, Meeting> meetings_;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Letter>>> letters_;
};

/// Whether kernels on the device take no part.
bool nccl_stalled(int device);

}  // namespace emulated
