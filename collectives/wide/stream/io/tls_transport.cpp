#include <algorithm>
#include <new>
#include <vector>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"

namespace train::wide::detail {
namespace {

/// Encrypted bytes that go to the kernel in one call.
constexpr std::size_t batch_bytes = 64 << 10;

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(int socket, TlsContext::Impl& tls, Role role, std::uint64_t key_bytes)
      : Transport(socket),
        job_(tls.identity.job),
        trust_(*tls.trust),
        ssl_(SSL_new(tls.context.get())),
        key_bytes_max_(key_bytes) {
    BIO* bio = BIO_new(tls.socket_method.get());
    if (!ssl_ || bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    auto [store, trouble] = trust_.view();
    error_ = std::move(trouble);
    if (SSL_set1_verify_cert_store(ssl_.get(), store.get()) != 1) throw std::bad_alloc();
    SSL_set_app_data(ssl_.get(), this);
    SSL_set_verify(ssl_.get(), SSL_get_verify_mode(ssl_.get()), note_owner);
    if (role == Role::dials) {
      SSL_set_connect_state(ssl_.get());
    } else {
      SSL_set_accept_state(ssl_.get());
    }
    held_.reserve(2 * batch_bytes);
  }

  IoStatus handshake() override {
    if (!error_.empty()) return IoStatus::failed;
    ERR_clear_error();
    const auto status = status_of(SSL_do_handshake(ssl_.get()));
    // What OpenSSL has to say goes out before waiting for the answer; an alert is sent too.
    const auto flushed = flush();
    if (status != IoStatus::ok && status != IoStatus::want_read) return status;
    if (flushed != IoStatus::ok) return flushed;
    return status == IoStatus::ok ? check_name() : status;
  }

  IoResult read(std::span<std::byte> bytes) override {
    ERR_clear_error();
    std::size_t got = 0;
    const int result = SSL_read_ex(ssl_.get(), bytes.data(), bytes.size(), &got);
    return {result == 1 ? IoStatus::ok : status_of(result), got};
  }

  IoResult write(std::span<const std::byte> bytes) override {
    ERR_clear_error();
    // OpenSSL refuses in the middle of a record: then the next write is early enough.
    if (key_bytes_ > key_bytes_max_ && !write_waits_) {
      if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) key_bytes_ = 0;
      ERR_clear_error();
    }
    std::size_t taken = 0;
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &taken);
    write_waits_ = result != 1;
    key_bytes_ += taken;
    return {result == 1 ? IoStatus::ok : status_of(result), taken};
  }

  IoStatus flush() override {
    while (held_sent_ < held_.size()) {
      const auto [status, sent] = send_some(std::span(held_).subspan(held_sent_));
      if (status != IoStatus::ok) return status;
      held_sent_ += sent;
    }
    held_.clear();
    held_sent_ = 0;
    return IoStatus::ok;
  }

  std::string certified_name() const override { return name_; }

  std::string why_revoked() const override {
    X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    const bool revoked = verify(trust_.view().store.get(), certificate) == X509_V_ERR_CERT_REVOKED;
    return revoked ? "its certificate, of \"" + name_ + "\", is revoked" : "";
  }

  // What OpenSSL calls.
  int bio_read(BIO* bio, std::span<std::byte> bytes) {
    BIO_clear_retry_flags(bio);
    const auto [status, got] = receive_some(bytes);
    if (status == IoStatus::ok) return static_cast<int>(got);
    if (status == IoStatus::want_read) BIO_set_retry_read(bio);
    ended_ = status == IoStatus::closed;
    return status == IoStatus::closed ? 0 : -1;
  }

  int bio_write(BIO* bio, std::span<const std::byte> bytes) {
    BIO_clear_retry_flags(bio);
    if (held_.size() >= batch_bytes) {
      const auto status = flush();
      if (status == IoStatus::want_write) BIO_set_retry_write(bio);
      if (status != IoStatus::ok) return -1;
    }
    held_.insert(held_.end(), bytes.begin(), bytes.end());
    return static_cast<int>(bytes.size());
  }

  bool ended() const { return ended_; }

 private:
  IoStatus status_of(int result) {
    if (result == 1) return IoStatus::ok;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return IoStatus::want_read;
      case SSL_ERROR_WANT_WRITE:
        return IoStatus::want_write;
      case SSL_ERROR_ZERO_RETURN:
        return IoStatus::closed;
      default:
        break;
    }
    if (ended_) return IoStatus::closed;
    const auto verified = SSL_get_verify_result(ssl_.get());
    const unsigned long reason = ERR_peek_error();
    if (verified == X509_V_ERR_CERT_REVOKED) {
      error_ = "its certificate, of \"" + name_ + "\", is revoked";
    } else if (ERR_GET_LIB(reason) == ERR_LIB_SSL &&
               ERR_GET_REASON(reason) == SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED) {
      error_ = "it says that this end's certificate is revoked";
    } else if (verified != X509_V_OK) {
      error_ = std::string("its certificate: ") + X509_verify_cert_error_string(verified);
    } else if (reason != 0 || error_.empty()) {
      error_ = take_openssl_errors();
    }
    ERR_clear_error();
    return IoStatus::failed;
  }

  // Of a certificate that is not good, its owner's name is all that is left to tell.
  static int note_owner(int good, X509_STORE_CTX* check) {
    const auto* ssl = static_cast<const SSL*>(
        X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const X509* certificate = X509_STORE_CTX_get_current_cert(check);
    if (good == 1 || ssl == nullptr || certificate == nullptr) return good;
    const auto identity = identity_of(certificate);
    static_cast<TlsTransport*>(SSL_get_app_data(ssl))->name_ = identity ? identity->name : "?";
    return good;
  }

  IoStatus check_name() {
    const X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    const auto identity = certificate != nullptr ? identity_of(certificate) : std::nullopt;
    if (!identity) {
      error_ = "its certificate names no cluster of a libtrain job";
      return IoStatus::failed;
    }
    if (identity->job != job_) {
      error_ = "its certificate is for the job \"" + identity->job + "\", not \"" + job_ + "\"";
      return IoStatus::failed;
    }
    name_ = identity->name;
    return IoStatus::ok;
  }

  std::string job_, name_;
  const Trust& trust_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  std::vector<std::byte> held_;
  std::size_t held_sent_ = 0;
  std::uint64_t key_bytes_max_, key_bytes_ = 0;  // by the present key
  bool write_waits_ = false;                     // OpenSSL has begun a record
  bool ended_ = false;
};

TlsTransport& transport_of(BIO* bio) {
  return *static_cast<TlsTransport*>(BIO_get_data(bio));
}

int on_read(BIO* bio, char* bytes, int count) {
  return transport_of(bio).bio_read(
      bio, {reinterpret_cast<std::byte*>(bytes), static_cast<std::size_t>(count)});
}

int on_write(BIO* bio, const char* bytes, int count) {
  return transport_of(bio).bio_write(
      bio, {reinterpret_cast<const std::byte*>(bytes), static_cast<std::size_t>(count)});
}

long on_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return transport_of(bio).ended() ? 1 : 0;
  // The transport flushes by itself.
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace

std::unique_ptr<BIO_METHOD, FreeBioMethod> make_socket_method() {
  std::unique_ptr<BIO_METHOD, FreeBioMethod> method(
      BIO_meth_new(BIO_TYPE_SOURCE_SINK, "libtrain socket"));
  if (method) {
    BIO_meth_set_read(method.get(), on_read);
    BIO_meth_set_write(method.get(), on_write);
    BIO_meth_set_ctrl(method.get(), on_control);
  }
  return method;
}

std::unique_ptr<Transport> tls_transport(int socket, TlsContext::Impl& tls, Role role,
                                         std::uint64_t key_bytes) {
  return std::make_unique<TlsTransport>(socket, tls, role, key_bytes);
}

}  // namespace train::wide::detail
