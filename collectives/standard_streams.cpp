#include "collectives/standard_streams.hpp"

#include <algorithm>
#include <climits>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train {

void log_line(std::string_view line) noexcept {
  const auto length = static_cast<int>(std::min<std::size_t>(line.size(), INT_MAX));
  std::fprintf(stderr, "%.*s\n", length, line.data());
}

void occupy_standard_descriptors() noexcept {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    // The least number that is free is this one. Nobody can read from 0, nor write to 1 and 2.
    ::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void flush_standard_output() {
  if (std::fflush(stdout) != 0) throw Error("what was to be printed cannot be written");
}

}  // namespace train
