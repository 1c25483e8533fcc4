#include "libtrain/checkpoint/store_lock.hpp"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <sys/file.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// A job that was killed a moment ago may still be dying.
constexpr std::chrono::seconds patience{5};
constexpr std::chrono::milliseconds pause{50};

}  // namespace

StoreLock::StoreLock(const std::filesystem::path& directory)
    : file_(directory / ".lock", File::Mode::append) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(file_.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    // A file system without locks cannot tell; two jobs in one directory are the user's mistake.
    if (errno != EWOULDBLOCK) return;
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error(
          fmt::format("{}: another job saves its checkpoints there; end it, or choose "
                      "another --checkpoint",
                      directory.string()));
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace train
