#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "collectives/wide/stream/io/greeting.hpp"
#include "collectives/wide/stream/io/loops.hpp"

namespace train::wide::detail {

struct ListenerOptions {
  TlsContext::Impl* tls = nullptr;
  std::chrono::milliseconds handshake_max{};
  int pending_max = 0;
  PrepareSocket prepare;
  Greeting::Judge judge;
  /// On the stream's loop.
  std::function<void(asio::io_context& loop, Introduced, const std::string& address)> introduced;
  /// On any loop.
  std::function<void(const std::string& address, const std::string& why)> refused;
};

/// Accepts connections on one address, and greets each on a loop of its own choice.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  /// Throws Error when the address cannot be listened to.
  Listener(Loops& loops, const std::string& address, ListenerOptions options);

  std::uint16_t port() const { return port_; }
  void start();

 private:
  void accept();
  void greet(asio::io_context& loop, asio::ip::tcp::socket socket);

  Loops& loops_;
  /// Greetings share it: they may outlive the listener's loop.
  const std::shared_ptr<const ListenerOptions> options_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::uint16_t port_ = 0;
  std::list<std::weak_ptr<Greeting>> pending_;  // oldest first
};

/// "host:port" of the other end.
std::string address_of(const asio::ip::tcp::socket& socket);

}  // namespace train::wide::detail
