#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

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
  struct Pending {
    std::weak_ptr<Greeting> greeting;
    std::string source;
  };

  void accept();
  void greet(asio::io_context& loop, asio::ip::tcp::socket socket);
  void make_room();

  Loops& loops_;
  /// Greetings share it: they may outlive the listener's loop.
  const std::shared_ptr<const ListenerOptions> options_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::uint16_t port_ = 0;
  std::vector<Pending> pending_;  // oldest first
};

/// Who a connection from this address may be: hosts have many addresses of IPv6, in one network of
/// 64 bits.
std::string source_of(const asio::ip::address& address);
/// Of who has come most often, the place of the first time; 0 if `sources` is empty.
std::size_t oldest_of_busiest(std::span<const std::string> sources);

/// "host:port" of the other end.
std::string address_of(const asio::ip::tcp::socket& socket);

}  // namespace train::wide::detail
