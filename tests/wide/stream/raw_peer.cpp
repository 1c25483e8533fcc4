#include "tests/wide/stream/raw_peer.hpp"

#include <array>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace train::wide::test {

RawPeer::RawPeer(std::uint16_t port, const char* from)
    : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  sockaddr_in source = address;
  source.sin_port = 0;
  ::inet_pton(AF_INET, from, &source.sin_addr);
  static_cast<void>(::bind(socket_, reinterpret_cast<sockaddr*>(&source), sizeof source));
  const timeval longest{10, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error("cannot connect to port " + std::to_string(port));
  }
}

RawPeer::~RawPeer() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
  ::close(socket_);
}

bool RawPeer::handshake(const std::optional<TlsFiles>& files, int version_max) {
  context_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context_, version_max);
  if (files) {
    SSL_CTX_use_certificate_file(context_, files->certificate.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context_, files->key.c_str(), SSL_FILETYPE_PEM);
  }
  ssl_ = SSL_new(context_);
  SSL_set_fd(ssl_, socket_);
  return SSL_connect(ssl_) == 1;
}

void RawPeer::send(std::span<const std::byte> bytes) {
  if (ssl_ != nullptr) {
    SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
  } else {
    static_cast<void>(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
}

std::vector<std::byte> RawPeer::read_all() {
  std::vector<std::byte> all;
  std::array<std::byte, 4096> some;
  for (;;) {
    const auto got = ssl_ != nullptr
                         ? SSL_read(ssl_, some.data(), static_cast<int>(some.size()))
                         : static_cast<int>(::recv(socket_, some.data(), some.size(), 0));
    if (got <= 0) return all;
    all.insert(all.end(), some.begin(), some.begin() + got);
  }
}

}  // namespace train::wide::test
