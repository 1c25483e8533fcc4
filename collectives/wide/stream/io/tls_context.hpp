#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "collectives/wide/stream/io/transport.hpp"
#include "collectives/wide/stream/io/trust.hpp"
#include "collectives/wide/stream/tls.hpp"

namespace train::wide {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeBioMethod {
  void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
};

class TlsContext::Impl {
 public:
  std::unique_ptr<SSL_CTX, FreeContext> context;
  /// How OpenSSL reaches a Transport's socket.
  std::unique_ptr<BIO_METHOD, FreeBioMethod> socket_method;
  CertificateName identity;
  std::unique_ptr<detail::Trust> trust;
};

namespace detail {

enum class Role { dials, accepts };

/// AES-GCM's keys are good for 2^24.5 records of 16 KiB; they are renewed well before.
inline constexpr std::uint64_t key_bytes_max = std::uint64_t{64} << 30;

/// `tls` must outlive the transport, which takes a new key after `key_bytes`.
std::unique_ptr<Transport> tls_transport(int socket, TlsContext::Impl& tls, Role role,
                                         std::uint64_t key_bytes = key_bytes_max);

/// What OpenSSL's queue of this thread says, oldest first, and empties it.
std::string take_openssl_errors();
std::unique_ptr<BIO_METHOD, FreeBioMethod> make_socket_method();
/// What a certificate says of its owner; nothing if it has no name of a libtrain job.
std::optional<CertificateName> identity_of(const X509* certificate);

}  // namespace detail
}  // namespace train::wide
