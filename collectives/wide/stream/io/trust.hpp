#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <openssl/x509.h>

#include "collectives/wide/stream/tls.hpp"

namespace train::wide::detail {

struct FreeStore {
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct FreeList {
  void operator()(X509_CRL* list) const { X509_CRL_free(list); }
};

/// What certificates are checked against: the job's authority, and the list of those that it has
/// revoked, where one lies beside it. The list is read again when its file changes. One that cannot
/// be read, has expired or is not this authority's lets nobody in, rather than everybody; one that
/// goes while the process runs, or gives way to an older one, stays in force.
///
/// Any thread.
class Trust {
 public:
  /// `own` must be good under it. Throws Error that names the file.
  Trust(TlsFiles files, const X509* own);

  struct View {
    std::shared_ptr<X509_STORE> store;  ///< for open connections the last that was good
    std::string trouble;                ///< not empty: no new connection may be trusted
  };
  View view() const;

  /// Reads the list again if its file has changed, or was no good. Returns what to log; "" if
  /// nothing changed. By one thread at a time.
  std::string refresh();

 private:
  /// Of the list's file; all zero when there is none.
  struct Stamp {
    std::uint64_t device = 0, inode = 0;
    std::int64_t bytes = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  using List = std::unique_ptr<X509_CRL, FreeList>;
  struct Loaded {
    std::shared_ptr<X509_STORE> store;
    List list;  // null: there is no file
  };
  Stamp stamp() const;
  Loaded load() const;

  const TlsFiles files_;
  const std::unique_ptr<X509, FreeCertificate> own_;
  Stamp seen_;
  List newest_;  // of those that were good
  mutable std::mutex mutex_;
  View view_;
};

/// X509_V_OK, or why a certificate is not good under a store.
int verify(X509_STORE* store, X509* certificate);

/// Refreshes a trust every second, on a thread of its own: the file may lie on a disk that is slow.
class TrustWatch {
 public:
  /// Calls changed(line) on that thread when it has changed.
  TrustWatch(Trust& trust, std::function<void(const std::string& line)> changed);

 private:
  std::jthread thread_;
};

}  // namespace train::wide::detail
