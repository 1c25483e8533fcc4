#pragma once

#include <memory>
#include <optional>
#include <string>

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "collectives/wide/stream/io/transport.hpp"
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
};

namespace detail {

enum class Role { dials, accepts };

/// `tls` must outlive the transport.
std::unique_ptr<Transport> tls_transport(int socket, TlsContext::Impl& tls, Role role);

/// What OpenSSL's queue of this thread says, oldest first, and empties it.
std::string take_openssl_errors();
std::unique_ptr<BIO_METHOD, FreeBioMethod> make_socket_method();
/// What a certificate says of its owner; nothing if it has no name of a libtrain job.
std::optional<CertificateName> identity_of(const X509* certificate);

}  // namespace detail
}  // namespace train::wide
