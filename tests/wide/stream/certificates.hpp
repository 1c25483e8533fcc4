#pragma once

#include <string>

#include "collectives/wide/stream/tls.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train::wide::test {

/// `launch/trainctl certs` with these words after the directory; its exit status and output.
struct Outcome {
  int status = 0;
  std::string output;
};
Outcome trainctl_certs(const std::filesystem::path& directory, const std::string& words);

/// A job's certificates for the clusters aws and lambda and the coordinator; gone with the object.
class Certificates {
 public:
  explicit Certificates(const std::string& job = "demo");

  const std::filesystem::path& directory() const { return scratch_.path(); }
  TlsFiles of(const char* name) const { return TlsFiles::in(scratch_ / name); }
  /// The files of another certificate of this authority, valid until `days` days from now, even if
  /// that is past, with any name in it.
  TlsFiles forge(const std::string& uri, int days) const;
  /// After trainctl certs --revoke: its list anew, from 2020 until a date as 20250101000000Z.
  void write_list(const std::filesystem::path& to, const std::string& until) const;

 private:
  train::test::ScratchDirectory scratch_;
};

}  // namespace train::wide::test
