#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

namespace train::wide::test {

/// A wire that misbehaves: forwards TCP connections to a port of this machine, and cuts, freezes or
/// slows them.
class Proxy {
 public:
  explicit Proxy(std::uint16_t target);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  std::uint16_t port() const { return port_; }
  /// From now on goes elsewhere.
  void retarget(std::uint16_t target) { target_ = target; }
  /// Each time about so many bytes have passed, the connection that carried the last is cut.
  void cut_every(std::size_t bytes, unsigned seed);
  void cut_never() { cut_interval_ = 0; }
  void cut_all();
  /// New connections are closed at once.
  void refuse(bool refuse) { refuse_ = refuse; }
  /// Nothing passes, nothing is closed.
  void freeze(bool freeze) { freeze_ = freeze; }
  /// Of the connections to come, the first passes only so many bytes a second.
  void slow_first(std::size_t bytes_per_s) { slow_first_ = bytes_per_s; }

  int cuts() const { return cuts_; }
  std::size_t forwarded() const { return forwarded_; }
  /// Of that, by the slow connection.
  std::size_t forwarded_slowly() const { return forwarded_slowly_; }

 private:
  struct Connection;

  void accept();
  void pump(Connection& connection, int from, int to);
  /// Whether the connection that carried `bytes` is the next to be cut.
  bool due(std::size_t bytes);

  int listener_;
  std::uint16_t port_;
  std::atomic<std::uint16_t> target_;
  std::atomic<bool> ending_{false}, refuse_{false}, freeze_{false};
  std::atomic<std::size_t> cut_interval_{0}, slow_first_{0}, forwarded_{0}, forwarded_slowly_{0};
  std::atomic<int> cuts_{0};

  std::mutex mutex_;
  std::mt19937 random_;
  std::int64_t until_cut_ = 0;
  std::list<std::unique_ptr<Connection>> connections_;
  std::thread acceptor_;
};

}  // namespace train::wide::test
