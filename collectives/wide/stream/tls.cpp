#include "collectives/wide/stream/tls.hpp"

#include <string_view>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/hello.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"

namespace train::wide {
namespace detail {
namespace {

std::optional<CertificateName> parse_identity(std::string_view uri) {
  constexpr std::string_view scheme = "libtrain://", coordinator = "coordinator";
  if (!uri.starts_with(scheme)) return std::nullopt;
  uri.remove_prefix(scheme.size());
  const auto slash = uri.find('/');
  if (slash == uri.npos) return std::nullopt;
  CertificateName identity{std::string(uri.substr(0, slash)), {}};
  std::string_view rest = uri.substr(slash + 1);
  constexpr std::string_view cluster = "cluster/";
  if (rest == coordinator) {
    identity.name = rest;
  } else if (rest.starts_with(cluster) && rest.substr(cluster.size()) != coordinator) {
    identity.name = rest.substr(cluster.size());
  }
  if (!valid_name(identity.job) || !valid_name(identity.name)) return std::nullopt;
  return identity;
}

}  // namespace

std::string take_openssl_errors() {
  std::string text;
  while (const auto code = ERR_get_error()) {
    if (!text.empty()) text += "; ";
    const char* reason = ERR_reason_error_string(code);
    text += reason != nullptr ? reason : "error " + std::to_string(code);
  }
  return text.empty() ? "unknown error" : text;
}

std::optional<CertificateName> identity_of(const X509* certificate) {
  struct FreeNames {
    void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  };
  const std::unique_ptr<GENERAL_NAMES, FreeNames> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::optional<CertificateName> found;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    const auto identity = parse_identity({reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                                          static_cast<std::size_t>(ASN1_STRING_length(uri))});
    if (identity && found) return std::nullopt;  // two names: neither is to be believed
    if (identity) found = identity;
  }
  return found;
}

}  // namespace detail

namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw Error("TLS: " + file.string() + ": " + what + " (" + detail::take_openssl_errors() +
              "); make certificates with launch/trainctl certs");
}

void require_file(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(file, ignored)) return;
  throw Error("TLS: there is no file " + file.string() +
              "; make certificates with launch/trainctl certs, and copy this cluster's directory");
}

void allow_only_what_is_needed(SSL_CTX* context) {
  // TLS 1.3 alone; the first cipher runs at several GB/s on processors with AES instructions.
  const bool good = SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_ciphersuites(context,
                                             "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                             "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
                    SSL_CTX_set_num_tickets(context, 0) == 1;
  if (!good) throw Error("TLS: OpenSSL refuses TLS 1.3: " + detail::take_openssl_errors());
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // The end of a connection means nothing here: frames say what is complete.
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // The authority signs the ends itself.
  SSL_CTX_set_verify_depth(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Several records per call of the kernel.
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, 128 << 10);
}

}  // namespace

TlsFiles TlsFiles::in(const std::filesystem::path& directory) {
  return {directory / "authority.pem", directory / "certificate.pem", directory / "key.pem",
          directory / "revoked.pem"};
}

TlsContext::TlsContext(const TlsFiles& files) : impl_(std::make_unique<Impl>()) {
  for (const auto& file : {files.authority, files.certificate, files.key}) require_file(file);
  ERR_clear_error();
  impl_->context.reset(SSL_CTX_new(TLS_method()));
  impl_->socket_method = detail::make_socket_method();
  SSL_CTX* context = impl_->context.get();
  if (context == nullptr || !impl_->socket_method) {
    throw Error("TLS: OpenSSL cannot start: " + detail::take_openssl_errors());
  }
  allow_only_what_is_needed(context);
  if (SSL_CTX_use_certificate_file(context, files.certificate.c_str(), SSL_FILETYPE_PEM) != 1) {
    fail(files.certificate, "is no certificate");
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    fail(files.key, "is not the key of " + files.certificate.string());
  }
  impl_->trust = std::make_unique<detail::Trust>(files, SSL_CTX_get0_certificate(context));
  const auto identity = detail::identity_of(SSL_CTX_get0_certificate(context));
  if (!identity) {
    throw Error("TLS: " + files.certificate.string() +
                " names no cluster of a libtrain job; make one with launch/trainctl certs");
  }
  impl_->identity = *identity;
}

TlsContext::~TlsContext() = default;

const CertificateName& TlsContext::identity() const {
  return impl_->identity;
}

}  // namespace train::wide
