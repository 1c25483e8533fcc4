#include "libtrain/metrics/terminal.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collectives/error.hpp"

using train::Progress;
using train::Terminal;

namespace {

/// A pseudo-terminal of its own, 132 columns wide.
class Pty {
 public:
  Pty() {
    REQUIRE(master_ >= 0);
    REQUIRE(::grantpt(master_) == 0);
    REQUIRE(::unlockpt(master_) == 0);
    slave_ = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    REQUIRE(slave_ >= 0);
    const winsize size{.ws_row = 24, .ws_col = 132, .ws_xpixel = 0, .ws_ypixel = 0};
    REQUIRE(::ioctl(slave_, TIOCSWINSZ, &size) == 0);
  }
  ~Pty() {
    ::close(slave_);
    ::close(master_);
  }
  int slave() const { return slave_; }

 private:
  int master_ = ::posix_openpt(O_RDWR | O_NOCTTY);
  int slave_ = -1;
};

/// The width that a rank of an mpirun whose output is `launcher_output` sees for `rank_output`;
/// 0 if it sees no terminal.
int width_seen_by_rank(int launcher_output, int rank_output) {
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    ::dup2(launcher_output, STDOUT_FILENO);
    const pid_t rank = ::fork();
    if (rank == 0) {
      ::setenv("OMPI_COMM_WORLD_RANK", "0", 1);
      const Terminal terminal(rank_output);
      ::_exit(terminal.exists() ? static_cast<int>(terminal.columns()) : 0);
    }
    int status = 0;
    ::waitpid(rank, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 255);
  }
  int status = 0;
  ::waitpid(launcher, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace

TEST_CASE("A terminal is told from a file, and knows its width") {
  ::unsetenv("COLUMNS");
  ::unsetenv("OMPI_COMM_WORLD_RANK");
  const Pty pty;
  const int file = ::open("/dev/null", O_WRONLY);
  CHECK(Terminal(pty.slave()).columns() == 132);
  CHECK(!Terminal(file).exists());
  CHECK(!Terminal(-1).exists());
  CHECK(Terminal(file).columns() == 80);
  ::setenv("COLUMNS", "40", 1);
  CHECK(Terminal(pty.slave()).columns() == 40);
  ::setenv("COLUMNS", "wide", 1);
  CHECK(Terminal(pty.slave()).columns() == 132);
  ::unsetenv("COLUMNS");
  ::close(file);
}

TEST_CASE("A rank of mpirun looks through its own pseudo-terminal at mpirun's output") {
  const Pty outer;
  const Pty inner;
  const int file = ::open("/dev/null", O_WRONLY);
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  CHECK(width_seen_by_rank(outer.slave(), inner.slave()) == 132);
  CHECK(width_seen_by_rank(file, inner.slave()) == 0);
  CHECK(width_seen_by_rank(pipe_ends[1], inner.slave()) == 0);
  CHECK(width_seen_by_rank(outer.slave(), file) == 0);
  for (const int descriptor : {file, pipe_ends[0], pipe_ends[1]}) ::close(descriptor);
}

TEST_CASE("Progress is named on the command line, and follows the terminal unless named") {
  CHECK(train::progress_from("auto") == Progress::automatic);
  CHECK(train::progress_from("live") == Progress::live);
  CHECK(train::progress_from("plain") == Progress::plain);
  CHECK(train::progress_from("none") == Progress::none);
  CHECK_THROWS_AS(train::progress_from("yes"), train::Error);

  ::setenv("TERM", "xterm", 1);
  const Pty pty;
  const Terminal terminal(pty.slave());
  const Terminal none(-1);
  CHECK(train::resolved(Progress::automatic, terminal) == Progress::live);
  CHECK(train::resolved(Progress::automatic, none) == Progress::plain);
  CHECK(train::resolved(Progress::live, none) == Progress::live);
  ::setenv("TERM", "dumb", 1);
  CHECK(train::resolved(Progress::automatic, terminal) == Progress::plain);
}
