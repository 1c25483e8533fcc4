#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "collectives/wide/stream/io/hello.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"
#include "collectives/wide/stream/io/transport.hpp"

namespace train::wide::detail {

/// A connection whose ends know each other.
struct Introduced {
  asio::ip::tcp::socket socket;
  std::unique_ptr<Transport> transport;
  Hello peer;
  std::uint64_t own_session = 0;  // as this end has told the peer
};

/// Why there is no connection.
struct Denial {
  std::string why;
  /// The session of a later process of the refused one's name, for which it was; 0: something else.
  std::uint64_t later_session = 0;
};

/// The first part of a connection's life: TLS, then a hello each way, by a deadline. Lives on one
/// loop; whoever waits for the result holds it only by the callback.
class Greeting : public std::enable_shared_from_this<Greeting> {
 public:
  /// The answer to a hello whose sender the certificate vouches for, or why it is refused.
  using Judge = std::function<std::variant<Hello, Denial>(const Hello& peer)>;
  /// Called once, on the loop, unless the loop stops first.
  using Done = std::function<void(std::variant<Introduced, Denial> result)>;

  /// Without `tls` the connection is plain, and nobody vouches for names.
  Greeting(asio::io_context& loop, asio::ip::tcp::socket socket, TlsContext::Impl* tls, Role role,
           std::chrono::milliseconds longest, Done done);

  void dial(const Hello& mine);
  void accept(Judge judge);
  /// From any thread: gives up, and calls done.
  void abandon(const std::string& why);

 private:
  enum class Phase { proving, saying, hearing };

  void begin();
  void advance();
  /// ok when the phase is over.
  IoStatus step();
  IoStatus say();
  IoStatus hear();
  /// Where the phase that is over leads; true if there is another.
  bool turn();
  bool hear_hello();
  /// The peer is told why, once it has proved that it belongs to the job.
  void refuse(const Denial& denial);
  void finish(std::variant<Introduced, Denial> result);
  void fail(const std::string& why) { finish(Denial{why}); }

  asio::io_context& loop_;
  asio::ip::tcp::socket socket_;
  std::unique_ptr<Transport> transport_;
  asio::steady_timer timer_;
  const bool encrypted_;
  const Role role_;
  const std::chrono::milliseconds longest_;
  Judge judge_;
  Done done_;

  Phase phase_ = Phase::proving;
  Hello mine_, peer_;
  std::vector<std::byte> saying_;
  std::size_t said_ = 0;
  HeaderBytes header_bytes_{};
  FrameHeader header_;
  std::vector<std::byte> body_;
  std::size_t heard_ = 0;  // of header and body
};

/// Sets the options of a socket before it connects or listens: windows are agreed on then.
using PrepareSocket = std::function<void(int socket)>;

/// Connects to "host:port", to any of the name's addresses, then greets. `done` as above.
void dial(asio::io_context& loop, const std::string& address, TlsContext::Impl* tls,
          std::chrono::milliseconds longest, const Hello& mine, PrepareSocket prepare,
          Greeting::Done done);

/// The same with the addresses of a name.
void dial(asio::io_context& loop, std::vector<asio::ip::tcp::endpoint> addresses,
          TlsContext::Impl* tls, std::chrono::milliseconds longest, const Hello& mine,
          PrepareSocket prepare, Greeting::Done done);

/// "host:port" or "[v6]:port", which others can be told. Throws Error for anything else.
std::pair<std::string, std::string> split_address(const std::string& address);

}  // namespace train::wide::detail
