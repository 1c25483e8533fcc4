#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace train::wide {

/// What a certificate of the job says: libtrain://JOB/cluster/NAME, or libtrain://JOB/coordinator
/// for the name "coordinator".
struct CertificateName {
  std::string job;
  std::string name;

  bool operator==(const CertificateName&) const = default;
};

/// PEM files that `launch/trainctl certs` makes.
struct TlsFiles {
  std::filesystem::path authority, certificate, key;
  /// The list of certificates that the authority has revoked; it may be missing.
  std::filesystem::path revoked = {};

  /// The files of one cluster's directory: authority.pem, certificate.pem, key.pem, revoked.pem.
  static TlsFiles in(const std::filesystem::path& directory);
};

/// The keys of one end, ready for TLS 1.3 with certificates on both sides. Trusts the job's own
/// authority and nothing else, and none that it has revoked; no session resumption, so that each
/// stream proves who it is.
class TlsContext {
 public:
  class Impl;

  /// Throws Error that names the file when one is missing, unreadable or damaged, when key and
  /// certificate differ, the certificate is expired, revoked or not of this authority, or the list
  /// of revoked ones is damaged, expired or another authority's.
  explicit TlsContext(const TlsFiles& files);
  ~TlsContext();

  /// Who this end is, by its own certificate.
  const CertificateName& identity() const;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace train::wide
