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
  return {scratch_ / "authority.pem", scratch_ / "forged.pem", scratch_ / "forged.key"};
}

}  // namespace train::wide::test
