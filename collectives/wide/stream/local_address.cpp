#include "collectives/wide/stream/local_address.hpp"

#include <asio/io_context.hpp>
#include <asio/ip/udp.hpp>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/greeting.hpp"

namespace train::wide {

using asio::ip::udp;

namespace {

std::string host_of(const asio::ip::address& address) {
  return address.is_v6() ? fmt::format("[{}]", address.to_string()) : address.to_string();
}

}  // namespace

std::string reachable_host(const std::string& listen, const std::string& towards) {
  const auto own_host = detail::split_address(listen).first;
  asio::error_code error;
  const auto own = asio::ip::make_address(own_host, error);
  if (error) return own_host;  // a name
  if (!own.is_unspecified()) return host_of(own);

  // A datagram socket that is connected knows its own address, and no packet has left.
  const auto [host, port] = detail::split_address(towards);
  asio::io_context loop;
  udp::resolver resolver(loop);
  const auto found = resolver.resolve(host, port, error);
  udp::socket socket(loop);
  if (!error && !found.empty()) socket.connect(*found.begin(), error);
  if (error || found.empty()) {
    throw Error("cannot tell this machine's address on the way to " + towards + ": " +
                (error ? error.message() : "no such host"));
  }
  return host_of(socket.local_endpoint().address());
}

}  // namespace train::wide
