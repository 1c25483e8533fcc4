#include "tests/wide/stream/certificates.hpp"

#include <cstdio>
#include <stdexcept>

#include <sys/wait.h>

namespace train::wide::test {
namespace {

std::string quoted(const std::filesystem::path& path) {
  std::string text = "'";
  text += path.string();
  return text += "'";
}

Outcome run(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed: " + command);
  Outcome outcome;
  for (int letter = std::fgetc(pipe); letter != EOF; letter = std::fgetc(pipe)) {
    outcome.output += static_cast<char>(letter);
  }
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

void must(const Outcome& outcome) {
  if (outcome.status != 0) throw std::runtime_error("certificates: " + outcome.output);
}

}  // namespace

Outcome trainctl_certs(const std::filesystem::path& directory, const std::string& words) {
  return run(TRAINCTL " certs " + quoted(directory) + " " + words);
}

Certificates::Certificates(const std::string& job) {
  must(trainctl_certs(directory(), "--job " + job + " --cluster aws --cluster lambda"));
}

TlsFiles Certificates::forge(const std::string& uri, int days) const {
  const auto at = [this](const char* name) { return quoted(scratch_ / name); };
  train::test::write_file(scratch_ / "forged.ext", "subjectAltName=URI:" + uri + "\n");
  must(run("openssl genpkey -algorithm ed25519 -out " + at("forged.key")));
  must(run("openssl req -new -subj /CN=forged -key " + at("forged.key") + " -out " +
           at("forged.csr")));
  must(run("openssl x509 -req -in " + at("forged.csr") + " -CA " + at("authority.pem") +
           " -CAkey " + at("authority.key") + " -set_serial 7 -days " + std::to_string(days) +
           " -extfile " + at("forged.ext") + " -out " + at("forged.pem")));
  return {scratch_ / "authority.pem", scratch_ / "forged.pem", scratch_ / "forged.key",
          scratch_ / "revoked.pem"};
}

void Certificates::write_list(const std::filesystem::path& to, const std::string& until) const {
  const std::string memory = (scratch_ / ".revoked").string();
  train::test::write_file(scratch_ / "list.conf",
                          "[ca]\ndefault_ca = job\n[job]\ndatabase = " + memory +
                              "/index\ncrlnumber = " + memory + "/number\ndefault_md = default\n");
  must(run("openssl ca -config " + quoted(scratch_ / "list.conf") + " -cert " +
           quoted(scratch_ / "authority.pem") + " -keyfile " + quoted(scratch_ / "authority.key") +
           " -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate " + until + " -out " +
           quoted(to)));
}

}  // namespace train::wide::test
