#include "collectives/wide/stream/io/transport.hpp"

#include <cerrno>
#include <system_error>

#include <sys/socket.h>

namespace train::wide::detail {
namespace {

class PlainTransport final : public Transport {
 public:
  using Transport::Transport;

  IoStatus handshake() override { return IoStatus::ok; }
  IoResult read(std::span<std::byte> bytes) override { return receive_some(bytes); }
  IoResult write(std::span<const std::byte> bytes) override { return send_some(bytes); }
  IoStatus flush() override { return IoStatus::ok; }
};

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

IoResult Transport::receive_some(std::span<std::byte> bytes) {
  for (;;) {
    const auto got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got > 0) {
      wire_received_ += static_cast<std::uint64_t>(got);
      return {IoStatus::ok, static_cast<std::size_t>(got)};
    }
    if (got == 0) return {IoStatus::closed, 0};
    if (would_block(errno)) return {IoStatus::want_read, 0};
    if (errno == EINTR) continue;
    error_ = std::generic_category().message(errno);
    return {IoStatus::failed, 0};
  }
}

IoResult Transport::send_some(std::span<const std::byte> bytes) {
  for (;;) {
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      wire_sent_ += static_cast<std::uint64_t>(sent);
      return {IoStatus::ok, static_cast<std::size_t>(sent)};
    }
    if (would_block(errno)) return {IoStatus::want_write, 0};
    if (errno == EINTR) continue;
    error_ = std::generic_category().message(errno);
    return {IoStatus::failed, 0};
  }
}

std::unique_ptr<Transport> plain_transport(int socket) {
  return std::make_unique<PlainTransport>(socket);
}

}  // namespace train::wide::detail
