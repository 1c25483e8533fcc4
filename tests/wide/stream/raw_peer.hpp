#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <openssl/ssl.h>

#include "collectives/wide/stream/tls.hpp"

namespace train::wide::test {

/// A peer that does what it likes: a blocking socket, with or without TLS, with or without a
/// certificate, of which it checks nothing.
class RawPeer {
 public:
  /// Comes from any of loopback's addresses.
  explicit RawPeer(std::uint16_t port, const char* from = "127.0.0.1");
  ~RawPeer();
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  /// As far as this end sees; with TLS 1.3 it may still be refused afterwards.
  bool handshake(const std::optional<TlsFiles>& files, int version_max = TLS1_3_VERSION);
  void send(std::span<const std::byte> bytes);
  /// Everything until the other end closes.
  std::vector<std::byte> read_all();

 private:
  int socket_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};

}  // namespace train::wide::test
