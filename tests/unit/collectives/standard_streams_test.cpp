#include "collectives/standard_streams.hpp"

#include <array>
#include <cerrno>
#include <string>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

namespace train {
namespace {

/// Standard error is another file, or none, for as long as this lives.
class StandardErrorAside {
 public:
  explicit StandardErrorAside(int other) : kept_(::dup(STDERR_FILENO)) {
    ::close(STDERR_FILENO);
    if (other >= 0) ::dup2(other, STDERR_FILENO);
  }
  ~StandardErrorAside() {
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }
  StandardErrorAside(const StandardErrorAside&) = delete;
  StandardErrorAside& operator=(const StandardErrorAside&) = delete;

 private:
  int kept_;
};

TEST_CASE("a line for standard error arrives as a whole, or is lost without a word") {
  std::array<int, 2> pipe{};
  // Packets: one read takes what one write gave.
  REQUIRE(::pipe2(pipe.data(), O_DIRECT | O_CLOEXEC) == 0);
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(full >= 0);
  for (const int nowhere : {full, -1}) {
    const StandardErrorAside aside(nowhere);
    log_line("nobody reads this");
  }
  const std::string text(1000, 'x');
  {
    const StandardErrorAside aside(pipe[1]);
    log_line(std::string_view(text + "not this").substr(0, text.size()));
  }
  std::array<char, 4096> got{};
  const ssize_t size = ::read(pipe[0], got.data(), got.size());
  CHECK(std::string(got.data(), static_cast<std::size_t>(size)) == text + "\n");
  for (const int descriptor : {pipe[0], pipe[1], full}) ::close(descriptor);
}

TEST_CASE("no file of a program's becomes its standard error") {
  const StandardErrorAside aside(-1);
  occupy_standard_descriptors();
  const int opened = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const ssize_t written = ::write(STDERR_FILENO, "x", 1);
  const int why = errno;
  CHECK(opened > STDERR_FILENO);
  CHECK(written == -1);
  CHECK(why == EBADF);
  ::close(opened);
}

}  // namespace
}  // namespace train
