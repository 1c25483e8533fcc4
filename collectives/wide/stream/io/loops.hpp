#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

namespace train::wide::detail {

/// Threads with one event loop each. What belongs to a loop runs on its thread alone.
class Loops {
 public:
  explicit Loops(int threads);
  ~Loops() { stop(); }

  /// For a new stream: each loop in turn.
  asio::io_context& next() { return each_[turn_++ % each_.size()]->context; }
  /// For timers, listeners and the calls of NodeEvents.
  asio::io_context& home() { return each_.front()->context; }
  void stop();

 private:
  struct Loop {
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    std::thread thread;
  };
  /// Home comes first, and is destroyed first: what waits there may own sockets of other loops,
  /// never the other way round.
  std::vector<std::unique_ptr<Loop>> each_;
  std::atomic<std::size_t> turn_{0};
};

}  // namespace train::wide::detail
