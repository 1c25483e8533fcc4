#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated {

/// A stack and the place at which it was left. Several take turns on one thread of the host; a
/// switch costs a few nanoseconds.
class Fiber {
 public:
  /// The fiber of the code that runs already.
  Fiber() = default;
  /// The first switch to it calls entry(argument), which must not return.
  Fiber(void (*entry)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves this fiber, which is the one that runs, until another switches to it.
  void switch_to(Fiber& other);
  /// False when the stack was used up to its end.
  bool intact() const;

 private:
  void* stack_ = nullptr;
  void* place_ = nullptr;
};

}  // namespace emulated
