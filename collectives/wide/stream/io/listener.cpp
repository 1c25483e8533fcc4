#include "collectives/wide/stream/io/listener.hpp"

#include <map>

#include "collectives/error.hpp"

namespace train::wide::detail {

using asio::ip::tcp;

std::string address_of(const tcp::socket& socket) {
  asio::error_code error;
  const auto end = socket.remote_endpoint(error);
  if (error) return "a peer that is gone";
  const auto host = end.address().to_string();
  return (end.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(end.port());
}

Listener::Listener(Loops& loops, const std::string& address, ListenerOptions options)
    : loops_(loops),
      options_(std::make_shared<ListenerOptions>(std::move(options))),
      acceptor_(loops.home()),
      pause_(loops.home()) {
  const auto [host, port] = split_address(address);
  asio::error_code error;
  tcp::resolver resolver(loops.home());
  const auto found = resolver.resolve(host, port, tcp::resolver::passive, error);
  const auto check = [&] {
    if (error) throw Error("cannot listen at " + address + ": " + error.message());
  };
  check();
  const tcp::endpoint end = found.begin()->endpoint();
  if (options_->tls == nullptr && !end.address().is_loopback()) {
    throw Error("plaintext listens to loopback addresses only, not to " + address +
                "; give the node certificates (launch/trainctl certs)");
  }
  acceptor_.open(end.protocol(), error);
  check();
  acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  check();
  options_->prepare(acceptor_.native_handle());  // accepted sockets inherit what matters
  acceptor_.bind(end, error);
  check();
  acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  check();
  port_ = acceptor_.local_endpoint().port();
}

void Listener::start() {
  accept();
}

void Listener::accept() {
  asio::io_context& loop = loops_.next();
  acceptor_.async_accept(
      loop, [self = shared_from_this(), &loop](const asio::error_code& error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) return;
        if (!error) {
          self->greet(loop, std::move(socket));
          return self->accept();
        }
        // Out of file descriptors, most likely: some may be closed in a moment.
        self->options_->refused("a new connection", error.message());
        self->pause_.expires_after(std::chrono::milliseconds(100));
        self->pause_.async_wait([self](const asio::error_code& stopped) {
          if (!stopped) self->accept();
        });
      });
}

void Listener::greet(asio::io_context& loop, tcp::socket socket) {
  const auto address = address_of(socket);
  options_->prepare(socket.native_handle());
  asio::error_code error;
  socket.native_non_blocking(true, error);
  if (error) return options_->refused(address, error.message());
  auto done = [options = options_, &loop, address](std::variant<Introduced, Denial> result) {
    if (auto* peer = std::get_if<Introduced>(&result)) {
      options->introduced(loop, std::move(*peer), address);
    } else {
      options->refused(address, std::get<Denial>(result).why);
    }
  };
  make_room();
  const auto end = socket.remote_endpoint(error);
  const auto greeting =
      std::make_shared<Greeting>(loop, std::move(socket), options_->tls, Role::accepts,
                                 options_->handshake_max, std::move(done));
  pending_.push_back({greeting, error ? std::string() : source_of(end.address())});
  greeting->accept(options_->judge);
}

// Strangers that never introduce themselves must not keep others out, however many they are.
void Listener::make_room() {
  std::erase_if(pending_, [](const Pending& pending) { return pending.greeting.expired(); });
  if (pending_.size() < static_cast<std::size_t>(options_->pending_max)) return;
  std::vector<std::string> sources;
  for (const Pending& pending : pending_) sources.push_back(pending.source);
  const auto oldest = pending_.begin() + static_cast<std::ptrdiff_t>(oldest_of_busiest(sources));
  if (oldest == pending_.end()) return;
  if (const auto greeting = oldest->greeting.lock()) {
    greeting->abandon("too many connections that have not introduced themselves");
  }
  pending_.erase(oldest);
}

std::string source_of(const asio::ip::address& address) {
  if (!address.is_v6()) return address.to_string();
  const auto v6 = address.to_v6();
  if (v6.is_v4_mapped()) return asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_string();
  const auto bytes = v6.to_bytes();
  return {bytes.begin(), bytes.begin() + 8};
}

std::size_t oldest_of_busiest(std::span<const std::string> sources) {
  std::map<std::string, std::size_t> counts;
  for (const std::string& source : sources) ++counts[source];
  std::size_t busiest = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (counts[sources[i]] > counts[sources[busiest]]) busiest = i;
  }
  return busiest;
}

}  // namespace train::wide::detail
