#pragma once

#include <chrono>
#include <memory>

namespace train {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

/// One collective or message under way. The buffers that were passed to the call must live, and
/// must not be touched, until the work is done. Dropping a Work neither cancels nor waits.
class [[nodiscard]] Work {
 public:
  /// What a backend implements.
  class State {
   public:
    virtual ~State() = default;
    /// True when done; false when `deadline` came first. Throws Error if the call failed.
    virtual bool wait_until(Deadline deadline) = 0;
  };

  /// A work that is done already.
  Work() = default;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  /// Returns when the call is done (a GPU's buffers: for the GPU's later work, see nccl/world.hpp);
  /// throws Error when it failed or the communicator's own deadline passed.
  void wait();
  /// Like wait(), but gives up waiting (not the call) at `deadline`: returns false then.
  [[nodiscard]] bool wait_until(Deadline deadline);
  [[nodiscard]] bool done() { return wait_until(Clock::now()); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace train
