#pragma once

#include <chrono>
#include <thread>

#include <sched.h>

#include "collectives/work.hpp"

namespace train::mpi {

/// The pause between two polls. MPI offers no wait with a deadline, so a rank polls; ranks and the
/// threads that compute share the cores, so it polls less the longer it waits.
class Backoff {
 public:
  void pause() {
    const auto waited = Clock::now() - began_;
    if (waited < spin) return;
    if (waited < spin + yield) {
      sched_yield();
    } else {
      slow_ = true;
      std::this_thread::sleep_for(sleep);
    }
  }
  /// Whether waits are long enough by now to afford rarer checks.
  bool slow() const { return slow_; }

 private:
  static constexpr std::chrono::microseconds spin{20}, yield{1000}, sleep{50};

  Clock::time_point began_ = Clock::now();
  bool slow_ = false;
};

}  // namespace train::mpi
