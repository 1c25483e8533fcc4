#include "collectives/wide/stream/local_address.hpp"

#include <variant>

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

// This machine's address on the way to one of these, or why there is none. A datagram socket that
// is connected knows its own address, and no packet has left.
std::variant<asio::ip::address, std::string> on_the_way(const std::vector<std::string>& towards,
                                                        bool v4_only) {
  std::string trouble;
  asio::io_context loop;
  udp::resolver resolver(loop);
  for (const std::string& each : towards) {
    const auto [host, port] = detail::split_address(each);
    asio::error_code error;
    std::string why = v4_only ? "no address of IPv4" : "no such host";
    for (const auto& found : resolver.resolve(host, port, error)) {
      if (v4_only && !found.endpoint().address().is_v4()) continue;
      udp::socket socket(loop);
      socket.connect(found.endpoint(), error);
      if (!error) return socket.local_endpoint().address();
    }
    if (error) why = error.message();
    trouble += fmt::format("{}{}: {}", trouble.empty() ? "" : ", ", each, why);
  }
  return trouble;
}

}  // namespace

void require_address(const std::string& text) {
  static_cast<void>(detail::split_address(text));
}

std::string reachable_host(const std::string& listen, const std::vector<std::string>& towards) {
  const auto own_host = detail::split_address(listen).first;
  asio::error_code error;
  const auto own = asio::ip::make_address(own_host, error);
  if (error) return own_host;  // a name
  if (!own.is_unspecified()) return host_of(own);
  const auto found = on_the_way(towards, own.is_v4());
  if (const auto* address = std::get_if<asio::ip::address>(&found)) return host_of(*address);
  throw Error(
      fmt::format("cannot tell where others reach what listens at {}, which depends on the way to "
                  "the coordinator ({}): say it (--advertise HOST:PORT), or listen at [::] where "
                  "that way is IPv6",
                  listen, std::get<std::string>(found)));
}

std::string listen_anywhere(const std::vector<std::string>& towards) {
  const auto is_known = [&](bool v4_only) { return on_the_way(towards, v4_only).index() == 0; };
  return !is_known(true) && is_known(false) ? "[::]:0" : "0.0.0.0:0";
}

}  // namespace train::wide
