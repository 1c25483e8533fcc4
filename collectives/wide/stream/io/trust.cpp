#include "collectives/wide/stream/io/trust.hpp"

#include <chrono>
#include <condition_variable>
#include <new>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"

namespace train::wide::detail {
namespace {

struct FreeStoreContext {
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeNumber {
  void operator()(ASN1_INTEGER* number) const { ASN1_INTEGER_free(number); }
};
using ListNumber = std::unique_ptr<ASN1_INTEGER, FreeNumber>;

X509* copy_of(const X509* certificate) {
  X509* copy = X509_dup(certificate);
  if (copy == nullptr) throw std::bad_alloc();
  return copy;
}

std::unique_ptr<X509_CRL, FreeList> read_list(const std::filesystem::path& file) {
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new_file(file.c_str(), "r"));
  std::unique_ptr<X509_CRL, FreeList> list(
      bio ? PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (list) return list;
  throw Error("TLS: " + file.string() + ": is no list of revoked certificates (" +
              take_openssl_errors() + "); copy the one of launch/trainctl certs --revoke");
}

int revoked_by(X509_CRL* list) {
  const auto* entries = X509_CRL_get_REVOKED(list);
  return entries != nullptr ? sk_X509_REVOKED_num(entries) : 0;
}

// An authority numbers its lists (RFC 5280, 5.2.3); null for one without a number, which is older
// than all that have one.
ListNumber number_of(const X509_CRL* list) {
  return ListNumber(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, NID_crl_number, nullptr, nullptr)));
}

std::string name_of(const X509_CRL* list) {
  const ListNumber number = number_of(list);
  std::int64_t value = 0;
  const bool told = number && ASN1_INTEGER_get_int64(&value, number.get()) == 1;
  return told ? "number " + std::to_string(value) : "one without a number";
}

// Lists of one number, as of an authority that was brought back from a copy, go by their dates.
bool is_older(const X509_CRL* list, const X509_CRL* than) {
  const ListNumber a = number_of(list), b = number_of(than);
  const int order = a && b ? ASN1_INTEGER_cmp(a.get(), b.get()) : (a ? 1 : 0) - (b ? 1 : 0);
  if (order != 0) return order < 0;
  return ASN1_TIME_compare(X509_CRL_get0_lastUpdate(list), X509_CRL_get0_lastUpdate(than)) < 0;
}

}  // namespace

int verify(X509_STORE* store, X509* certificate) {
  const std::unique_ptr<X509_STORE_CTX, FreeStoreContext> check(X509_STORE_CTX_new());
  if (!check || X509_STORE_CTX_init(check.get(), store, certificate, nullptr) != 1) {
    throw std::bad_alloc();
  }
  return X509_verify_cert(check.get()) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(check.get());
}

Trust::Trust(TlsFiles files, const X509* own)
    : files_(std::move(files)), own_(copy_of(own)), seen_(stamp()) {
  Loaded loaded = load();
  view_.store = std::move(loaded.store);
  newest_ = std::move(loaded.list);
}

Trust::View Trust::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

Trust::Stamp Trust::stamp() const {
  struct stat status = {};
  if (files_.revoked.empty() || ::stat(files_.revoked.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

// A list that says nothing about this end's own certificate is of no use for others either: then
// it is not its authority's.
Trust::Loaded Trust::load() const {
  ERR_clear_error();
  std::shared_ptr<X509_STORE> store(X509_STORE_new(), FreeStore());
  if (!store) throw std::bad_alloc();
  if (X509_STORE_load_file(store.get(), files_.authority.c_str()) != 1) {
    throw Error("TLS: " + files_.authority.string() + ": is no certificate (" +
                take_openssl_errors() + "); make certificates with launch/trainctl certs");
  }
  std::error_code ignored;
  // Also where a link leads nowhere, or nobody can tell: only no file at all is no list.
  const bool has_list =
      !files_.revoked.empty() && std::filesystem::symlink_status(files_.revoked, ignored).type() !=
                                     std::filesystem::file_type::not_found;
  List list = has_list ? read_list(files_.revoked) : nullptr;
  if (list) {
    if (X509_STORE_add_crl(store.get(), list.get()) != 1) throw std::bad_alloc();
    X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK);
  }
  const int found = verify(store.get(), own_.get());
  if (found == X509_V_OK) return {std::move(store), std::move(list)};
  const bool of_list =
      has_list &&
      (found == X509_V_ERR_UNABLE_TO_GET_CRL || found == X509_V_ERR_CRL_SIGNATURE_FAILURE ||
       found == X509_V_ERR_CRL_HAS_EXPIRED || found == X509_V_ERR_CRL_NOT_YET_VALID);
  if (of_list) {
    throw Error("TLS: " + files_.revoked.string() + " is no good list of " +
                files_.authority.string() + ": " + X509_verify_cert_error_string(found) +
                "; copy the one of launch/trainctl certs --revoke");
  }
  throw Error("TLS: " + files_.certificate.string() + " is not valid under " +
              files_.authority.string() + (has_list ? " and " + files_.revoked.string() : "") +
              ": " + X509_verify_cert_error_string(found) +
              "; make a new one with launch/trainctl certs");
}

// What is wrong may be put right without a trace in the stamp: permissions, a disk, this machine's
// clock. So a list that is no good is tried again each time.
std::string Trust::refresh() {
  const std::string trouble = view().trouble;
  const Stamp now = stamp();
  const bool gone = now == Stamp();
  if (now == seen_ && (trouble.empty() || gone)) return {};
  seen_ = now;
  if (gone) {
    return "TLS: " + files_.revoked.string() + " is gone: " +
           (trouble.empty() ? "what it said last holds until this process ends"
                            : "nobody new is let in until a good one is there");
  }
  Loaded loaded;
  try {
    loaded = load();
  } catch (const Error& error) {
    if (error.what() == trouble) return {};
    const std::lock_guard lock(mutex_);
    view_.trouble = error.what();
    return view_.trouble + "; until then nobody new is let in";
  }
  if (!loaded.list) return {};  // it has gone meanwhile, which the next time says
  const bool older = newest_ && is_older(loaded.list.get(), newest_.get());
  std::string line = "TLS: " + files_.revoked.string();
  if (older) {
    line += " is an older list, " + name_of(loaded.list.get()) + ": " + name_of(newest_.get()) +
            ", which was read before, holds until this process ends; copy the newest one of "
            "launch/trainctl certs --revoke";
  } else {
    line +=
        " is read: certificates that are revoked: " + std::to_string(revoked_by(loaded.list.get()));
    newest_ = std::move(loaded.list);
  }
  const std::lock_guard lock(mutex_);
  if (!older) view_.store = std::move(loaded.store);
  view_.trouble.clear();
  return line;
}

TrustWatch::TrustWatch(Trust& trust, std::function<void(const std::string& line)> changed)
    : thread_([&trust, changed = std::move(changed)](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stopped.wait_for(lock, stop, std::chrono::seconds(1),
                                 [&] { return stop.stop_requested(); })) {
          if (const std::string line = trust.refresh(); !line.empty()) changed(line);
        }
      }) {}

}  // namespace train::wide::detail
