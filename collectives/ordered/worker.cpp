#include "collectives/ordered/worker.hpp"

#include <utility>

namespace train::detail {

bool Ticket::wait_until(Deadline deadline) {
  // Who gives a deadline wants to be back by then: an operation cannot be left half-way.
  if (deadline == Deadline::max()) {
    if (const auto worker = worker_.lock()) worker->help(*this);
  }
  std::unique_lock lock(mutex_);
  const auto ended = [this] { return done_; };
  if (deadline == Deadline::max()) {
    changed_.wait(lock, ended);
  } else if (!changed_.wait_until(lock, deadline, ended)) {
    return false;
  }
  if (fault_) fault_->raise();
  return true;
}

bool Ticket::ended() {
  std::lock_guard lock(mutex_);
  return done_;
}

void Ticket::finish() {
  std::lock_guard lock(mutex_);
  done_ = true;
  changed_.notify_all();
}

void Ticket::fail(Fault fault) {
  std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
  done_ = true;
  changed_.notify_all();
}

Worker::Worker(std::function<void(Task&)> run)
    : run_(std::move(run)), thread_([this] { loop(); }) {}

void Worker::push(Task task) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void Worker::join() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Worker::help(Ticket& ticket) {
  std::unique_lock lock(mutex_);
  while (!running_ && !queue_.empty() && !ticket.ended()) run_first(lock);
}

void Worker::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !running_ && (closing_ || !queue_.empty()); });
    if (queue_.empty()) return;
    run_first(lock);
  }
}

void Worker::run_first(std::unique_lock<std::mutex>& lock) {
  Task task = std::move(queue_.front());
  queue_.pop_front();
  running_ = true;
  lock.unlock();
  run_(task);
  lock.lock();
  running_ = false;
  if (closing_ || !queue_.empty()) changed_.notify_one();
}

}  // namespace train::detail
