#include "collectives/ordered/worker.hpp"

#include <utility>

namespace train::detail {

bool Ticket::wait_until(Deadline deadline) {
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
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(task));
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

void Worker::loop() {
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    run_(task);
  }
}

}  // namespace train::detail
