#include <asio/post.hpp>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/greeting.hpp"

namespace train::wide::detail {
namespace {

using asio::ip::tcp;

/// Resolving and connecting, to each of a name's addresses in turn; then a Greeting takes over.
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
        socket_(loop),
        timer_(loop) {}

  void begin(const std::string& host, const std::string& port) {
    timer_.expires_after(longest_);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->fail("no answer within " + std::to_string(self->longest_.count()) + " ms");
    });
    resolver_.async_resolve(host, port,
                            [self = shared_from_this()](const asio::error_code& error,
                                                        const tcp::resolver::results_type& found) {
                              if (error) return self->fail(error.message());
                              self->found_ = found;
                              self->connect(self->found_.begin(), "no address");
                            });
  }

 private:
  void connect(tcp::resolver::results_type::const_iterator next, const std::string& trouble) {
    if (!done_) return;
    if (next == found_.end()) return fail(trouble);
    const tcp::endpoint end = next->endpoint();
    if (tls_ == nullptr && !end.address().is_loopback()) {
      return fail("is no loopback address, and this end is plaintext");
    }
    asio::error_code error;
    socket_.close(error);
    socket_.open(end.protocol(), error);
    if (error) return connect(std::next(next), error.message());
    prepare_(socket_.native_handle());
    socket_.async_connect(end, [self = shared_from_this(), next](const asio::error_code& failed) {
      if (failed) return self->connect(std::next(next), failed.message());
      self->greet();
    });
  }

  void greet() {
    if (!done_) return;
    timer_.cancel();
    asio::error_code error;
    socket_.native_non_blocking(true, error);
    if (error) return fail(error.message());
    std::make_shared<Greeting>(loop_, std::move(socket_), tls_, Role::dials, longest_,
                               std::exchange(done_, nullptr))
        ->dial(mine_);
  }

  void fail(const std::string& why) {
    if (!done_) return;
    asio::error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
    timer_.cancel();
    std::exchange(done_, nullptr)(Denial{why});
  }

  asio::io_context& loop_;
  TlsContext::Impl* tls_;
  const std::chrono::milliseconds longest_;
  const Hello mine_;
  const PrepareSocket prepare_;
  Greeting::Done done_;
  tcp::resolver resolver_;
  tcp::resolver::results_type found_;
  tcp::socket socket_;
  asio::steady_timer timer_;
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

}  // namespace train::wide::detail
