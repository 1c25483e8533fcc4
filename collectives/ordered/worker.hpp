#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"
#include "collectives/work.hpp"

namespace train::detail {

class Transport;

/// Tells the waiters of one queued operation how it ended.
class Ticket : public Work::State {
 public:
  bool wait_until(Deadline deadline) override;
  void finish();
  void fail(Fault fault);

  /// What a finished split made; the one who waited for it takes it.
  std::shared_ptr<Transport> part;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::optional<Fault> fault_;
};

/// One thread that takes operations in the order they were pushed. Sleeps while there are none.
class Worker {
 public:
  struct Task {
    Operation operation;
    std::shared_ptr<Ticket> ticket;
  };

  /// `run` ends each task's ticket and throws nothing.
  explicit Worker(std::function<void(Task&)> run);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { join(); }

  void push(Task task);
  /// Runs what was pushed, then ends the thread.
  void join();

 private:
  void loop();

  std::function<void(Task&)> run_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace train::detail
