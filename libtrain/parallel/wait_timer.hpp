#pragma once

#include <functional>

#include "collectives/work.hpp"

namespace train {

/// Time that training stood still for other ranks: communication that computation did not hide.
class WaitTimer {
 public:
  using Observer = std::function<void(Clock::time_point begin, Clock::time_point end)>;

  /// Waits for the work, lets go of it and counts how long it took.
  void wait(Work& work) {
    const auto begin = Clock::now();
    work.wait();
    work = Work();
    const auto end = Clock::now();
    seconds_ += std::chrono::duration<double>(end - begin).count();
    if (observer_) observer_(begin, end);
  }

  double seconds() const { return seconds_; }
  /// Called after each wait from now on.
  void observe(Observer observer) { observer_ = std::move(observer); }

 private:
  double seconds_ = 0.0;
  Observer observer_;
};

}  // namespace train
