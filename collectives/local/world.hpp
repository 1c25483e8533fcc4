#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"

namespace train::local {

/// `size` ranks that are threads of this process: the reference backend, and the test bed.
/// Each rank's communicator may be used by one thread, or by several that keep one order of calls.
class World {
 public:
  explicit World(int size, const std::string& name = "world");
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  int size() const;
  /// Lives until the world ends or the rank leaves.
  Communicator& communicator(int rank);
  /// Wakes every rank with an error that names `rank` and `why`; the world stays failed.
  void fail(int rank, const std::string& why);
  /// Finishes the rank's calls under way and destroys its communicator. Ranks that need it later
  /// get an error that names it. Call from the rank's own thread.
  void leave(int rank);

 private:
  struct Ranks;
  std::unique_ptr<Ranks> ranks_;
};

/// Runs `body` on `size` threads, one per rank of a world, and joins them. When a body throws, the
/// others are woken with an error; then the first exception that was no consequence of another
/// rank's is thrown again.
void run(int size, const std::function<void(Communicator&)>& body);

}  // namespace train::local
