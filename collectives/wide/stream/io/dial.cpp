#include <asio/post.hpp>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/greeting.hpp"

namespace train::wide::detail {
namespace {

using asio::ip::tcp;

/// How long an address has for itself before the next one of the name is tried beside it: longer
/// than connecting takes across the world.
constexpr std::chrono::milliseconds head_start{1000};

/// Resolving and connecting, to all of a name's addresses, one after the other begun: one that does
/// not answer keeps nobody from the others. Then a Greeting takes over with the first that does.
class Dialling : public std::enable_shared_from_this<Dialling> {
 public:
  Dialling(asio::io_context& loop, TlsContext::Impl* tls, std::chrono::milliseconds longest,
           Hello mine, PrepareSocket prepare, Greeting::Done done)
      : loop_(loop),
        tls_(tls),
        longest_(longest),
        mine_(std::move(mine)),
        prepare_(std::move(prepare)),
        done_(std::move(done)),
        resolver_(loop),
        deadline_(loop),
        head_start_(loop) {}

  void begin(const std::string& host, const std::string& port) {
    set_deadline();
    resolver_.async_resolve(host, port,
                            [self = shared_from_this()](const asio::error_code& error,
                                                        const tcp::resolver::results_type& found) {
                              if (error) return self->fail(error.message());
                              for (const auto& each : found) self->ends_.push_back(each.endpoint());
                              self->connect_next();
                            });
  }

  void begin(std::vector<tcp::endpoint> ends) {
    set_deadline();
    ends_ = std::move(ends);
    connect_next();
  }

 private:
  using Socket = std::shared_ptr<tcp::socket>;

  void set_deadline() {
    deadline_.expires_after(longest_);
    deadline_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->fail("no answer within " + std::to_string(self->longest_.count()) + " ms");
    });
  }

  void connect_next() {
    while (done_ && next_ < ends_.size()) {
      trouble_ = connect(ends_[next_++]);
      if (!trouble_.empty()) continue;
      head_start_.expires_after(head_start);
      head_start_.async_wait([self = shared_from_this()](const asio::error_code& error) {
        if (!error) self->connect_next();
      });
      return;
    }
    if (sockets_.empty()) fail(trouble_);
  }

  /// Why it cannot even begin; empty if it does.
  std::string connect(const tcp::endpoint& end) {
    if (tls_ == nullptr && !end.address().is_loopback()) {
      return "is no loopback address, and this end is plaintext";
    }
    const auto socket = std::make_shared<tcp::socket>(loop_);
    asio::error_code error;
    socket->open(end.protocol(), error);
    if (error) return error.message();
    prepare_(socket->native_handle());
    sockets_.push_back(socket);
    socket->async_connect(end, [self = shared_from_this(), socket](const asio::error_code& failed) {
      self->connected(socket, failed);
    });
    return {};
  }

  void connected(const Socket& socket, const asio::error_code& error) {
    if (!done_) return;
    std::erase(sockets_, socket);
    if (!error) return greet(std::move(*socket));
    trouble_ = error.message();
    connect_next();
  }

  void greet(tcp::socket socket) {
    asio::error_code error;
    socket.native_non_blocking(true, error);
    if (error) return fail(error.message());
    auto done = std::exchange(done_, nullptr);
    give_up();
    std::make_shared<Greeting>(loop_, std::move(socket), tls_, Role::dials, longest_,
                               std::move(done))
        ->dial(mine_);
  }

  void fail(const std::string& why) {
    if (!done_) return;
    const auto done = std::exchange(done_, nullptr);
    give_up();
    done(Denial{why});
  }

  void give_up() {
    asio::error_code ignored;
    resolver_.cancel();
    deadline_.cancel();
    head_start_.cancel();
    for (const Socket& socket : sockets_) socket->close(ignored);
    sockets_.clear();
  }

  asio::io_context& loop_;
  TlsContext::Impl* tls_;
  const std::chrono::milliseconds longest_;
  const Hello mine_;
  const PrepareSocket prepare_;
  Greeting::Done done_;
  tcp::resolver resolver_;
  asio::steady_timer deadline_, head_start_;
  std::vector<tcp::endpoint> ends_;
  std::size_t next_ = 0;
  std::vector<Socket> sockets_;  // that are connecting
  std::string trouble_ = "no address";
};

}  // namespace

std::pair<std::string, std::string> split_address(const std::string& address) {
  const auto colon = address.rfind(':');
  std::string host = colon == address.npos ? "" : address.substr(0, colon);
  const std::string port = colon == address.npos ? "" : address.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool number = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == port.npos && std::stoi(port) < 65536;
  constexpr std::size_t bytes_max = 300;  // a name has 253 at most
  if (address.size() > bytes_max) {
    throw Error("\"" + address.substr(0, 60) + "…\" is no address: it is too long");
  }
  if (host.empty() || !number || (!bracketed && host.find(':') != host.npos)) {
    throw Error("\"" + address + "\" is no address: expected HOST:PORT or [IPV6]:PORT");
  }
  return {host, port};
}

void dial(asio::io_context& loop, const std::string& address, TlsContext::Impl* tls,
          std::chrono::milliseconds longest, const Hello& mine, PrepareSocket prepare,
          Greeting::Done done) {
  const auto [host, port] = split_address(address);
  const auto dialling =
      std::make_shared<Dialling>(loop, tls, longest, mine, std::move(prepare), std::move(done));
  asio::post(loop, [dialling, host = host, port = port] { dialling->begin(host, port); });
}

void dial(asio::io_context& loop, std::vector<tcp::endpoint> addresses, TlsContext::Impl* tls,
          std::chrono::milliseconds longest, const Hello& mine, PrepareSocket prepare,
          Greeting::Done done) {
  const auto dialling =
      std::make_shared<Dialling>(loop, tls, longest, mine, std::move(prepare), std::move(done));
  asio::post(loop, [dialling, addresses = std::move(addresses)]() mutable {
    dialling->begin(std::move(addresses));
  });
}

}  // namespace train::wide::detail
