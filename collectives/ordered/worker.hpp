#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"
#include "collectives/work.hpp"

namespace train::detail {

class Transport;
class Worker;

/// Tells the waiters of one queued operation how it ended.
class Ticket : public Work::State {
 public:
  explicit Ticket(std::weak_ptr<Worker> worker) : worker_(std::move(worker)) {}

  bool wait_until(Deadline deadline) override;
  bool ended();
  void finish();
  void fail(Fault fault);

  /// What a finished split made; the one who waited for it takes it.
  std::shared_ptr<Transport> part;

 private:
  std::weak_ptr<Worker> worker_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::optional<Fault> fault_;
};

/// One thread that takes operations in the order they were pushed. Sleeps while there are none.
/// One operation runs at a time, on that thread or on one that waits for it.
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
  /// Runs operations on the calling thread until `ticket` has ended or another thread runs one:
  /// who waits anyway need not wake a thread and be woken by it, which costs more than a small
  /// collective.
  void help(Ticket& ticket);
  /// Runs what was pushed, then ends the thread.
  void join();

 private:
  void loop();
  /// Takes the lock, held, off while the first task runs.
  void run_first(std::unique_lock<std::mutex>& lock);

  std::function<void(Task&)> run_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  bool running_ = false;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace train::detail
