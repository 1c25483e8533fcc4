#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace train::wide::detail {

enum class IoStatus {
  ok,
  /// Go on when the socket can be read, or written.
  want_read,
  want_write,
  /// The peer closed the connection.
  closed,
  failed
};

struct IoResult {
  IoStatus status = IoStatus::ok;
  std::size_t bytes = 0;
};

/// Bytes over a connected, non-blocking socket, plain or encrypted. Used by one thread at a time;
/// does not own the socket.
class Transport {
 public:
  explicit Transport(int socket) : socket_(socket) {}
  virtual ~Transport() = default;

  /// ok when the peer has proved who it is.
  virtual IoStatus handshake() = 0;
  /// Some bytes, at least one, if ok. Bytes may wait here while the socket has none: read until
  /// want_read before waiting for the socket.
  virtual IoResult read(std::span<std::byte> bytes) = 0;
  /// Takes some bytes, at least one, if ok. After want_write the next call offers as many again.
  virtual IoResult write(std::span<const std::byte> bytes) = 0;
  /// Sends what write() has held back.
  virtual IoStatus flush() = 0;

  /// The name in the peer's certificate, after the handshake; empty if plaintext.
  virtual std::string certified_name() const { return {}; }
  /// Why the peer, which was good at the handshake, is to be trusted no more; empty if it is.
  virtual std::string why_revoked() const { return {}; }
  /// Why the last call failed.
  const std::string& error() const { return error_; }

  std::uint64_t wire_sent() const { return wire_sent_; }
  std::uint64_t wire_received() const { return wire_received_; }

 protected:
  IoResult receive_some(std::span<std::byte> bytes);
  IoResult send_some(std::span<const std::byte> bytes);

  std::string error_;

 private:
  int socket_;
  std::uint64_t wire_sent_ = 0, wire_received_ = 0;
};

std::unique_ptr<Transport> plain_transport(int socket);

}  // namespace train::wide::detail
