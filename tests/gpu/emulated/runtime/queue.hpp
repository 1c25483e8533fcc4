#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "tests/gpu/emulated/runtime/memory.hpp"

// A stream is a thread with a queue, so that what a program forgot to wait for is missing.
struct CUstream_st {
 public:
  explicit CUstream_st(int device) : device_(device), worker_([this] { run(); }) {}
  ~CUstream_st() {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  int device() const { return device_; }

  void push(std::function<void()> work) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

  bool idle() {
    std::lock_guard lock(mutex_);
    return queue_.empty() && !busy_;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.empty() && !busy_; });
  }

 private:
  // Device memory stays open from the first work to the last of a busy time, because opening and
  // closing cost more than a small kernel.
  void run() {
    std::optional<emulated::OpenMemory> open;
    std::unique_lock lock(mutex_);
    while (true) {
      if (queue_.empty()) {
        open.reset();
        busy_ = false;
        changed_.notify_all();
        changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
        if (queue_.empty()) return;
      }
      busy_ = true;
      std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (!open) open.emplace();
      work();
      work = nullptr;
      lock.lock();
    }
  }

  int device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool busy_ = false;
  bool ended_ = false;
  std::thread worker_;
};
