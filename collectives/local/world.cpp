#include "collectives/local/world.hpp"

#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/local/room.hpp"
#include "collectives/local/transport.hpp"
#include "collectives/ordered/ordered_communicator.hpp"

namespace train::local {

struct World::Ranks {
  std::vector<std::unique_ptr<detail::OrderedCommunicator>> communicators;
};

World::World(int size, const std::string& name) : ranks_(std::make_unique<Ranks>()) {
  if (size < 1) throw Error(fmt::format("a local world needs at least 1 rank, got {}", size));
  const Room room(name, size);
  for (int rank = 0; rank < size; ++rank) {
    ranks_->communicators.push_back(std::make_unique<detail::OrderedCommunicator>(
        std::make_shared<LocalTransport>(room, rank)));
  }
}

World::~World() = default;

int World::size() const {
  return static_cast<int>(ranks_->communicators.size());
}

Communicator& World::communicator(int rank) {
  invariant(rank >= 0 && rank < size(), "the world has this rank");
  auto& communicator = ranks_->communicators[static_cast<std::size_t>(rank)];
  invariant(communicator != nullptr, "a rank that left has no communicator");
  return *communicator;
}

void World::fail(int rank, const std::string& why) {
  invariant(rank >= 0 && rank < size(), "the world has this rank");
  auto& communicator = ranks_->communicators[static_cast<std::size_t>(rank)];
  if (communicator) communicator->fail(why);
}

void World::leave(int rank) {
  invariant(rank >= 0 && rank < size(), "the world has this rank");
  ranks_->communicators[static_cast<std::size_t>(rank)].reset();
}

namespace {

/// Keeps the exception to report: a rank's own trouble comes before what others made of it.
class FirstException {
 public:
  void record(bool of_peer) {
    std::lock_guard lock(mutex_);
    if (exception_ && (of_peer || !of_peer_)) return;
    exception_ = std::current_exception();
    of_peer_ = of_peer;
  }
  void rethrow() {
    std::lock_guard lock(mutex_);
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

 private:
  std::mutex mutex_;
  std::exception_ptr exception_;
  bool of_peer_ = false;
};

void run_rank(World& world, int rank, const std::function<void(Communicator&)>& body,
              FirstException& first) {
  try {
    body(world.communicator(rank));
  } catch (...) {
    const auto fault = detail::current_fault();
    first.record(fault.of_peer);
    world.fail(rank, fault.message);
  }
  world.leave(rank);
}

}  // namespace

void run(int size, const std::function<void(Communicator&)>& body) {
  World world(size);
  FirstException first;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { run_rank(world, rank, body, first); });
  }
  for (auto& thread : threads) thread.join();
  first.rethrow();
}

}  // namespace train::local
