#include "libtrain/metrics/terminal.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr const char* rank_variable = "OMPI_COMM_WORLD_RANK";

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// True when mpirun started the process, or a wrapper script that then started it.
bool is_rank(pid_t process) {
  const std::string environment = content_of(fmt::format("/proc/{}/environ", process));
  const std::string assignment = fmt::format("{}=", rank_variable);
  return environment.starts_with(assignment) ||
         environment.find('\0' + assignment) != std::string::npos;
}

/// 0 where it cannot be told.
pid_t parent_of(pid_t process) {
  // The second field, the program's name, stands in brackets and may hold anything but the last.
  const std::string stat = content_of(fmt::format("/proc/{}/stat", process));
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  pid_t parent = 0;
  std::from_chars(stat.data() + name_end + 4, stat.data() + stat.size(), parent);
  return parent;
}

/// Opens the terminal behind `path`; -1 where there is something else.
int open_terminal(const char* path) {
  struct stat status = {};
  // Only a character device is opened: opening a pipe's other end could block, or keep it alive.
  if (::stat(path, &status) != 0 || !S_ISCHR(status.st_mode)) return -1;
  const int descriptor = ::open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0 || ::isatty(descriptor) == 1) return descriptor;
  ::close(descriptor);
  return -1;
}

int terminal_behind(int descriptor) {
  if (descriptor < 0 || ::isatty(descriptor) != 1) return -1;
  if (std::getenv(rank_variable) == nullptr) return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  pid_t launcher = ::getppid();
  while (launcher > 1 && is_rank(launcher)) launcher = parent_of(launcher);
  return launcher < 1 ? -1 : open_terminal(fmt::format("/proc/{}/fd/1", launcher).c_str());
}

}  // namespace

Progress progress_from(std::string_view name) {
  if (name == "auto") return Progress::automatic;
  if (name == "live") return Progress::live;
  if (name == "plain") return Progress::plain;
  if (name == "none") return Progress::none;
  throw Error(fmt::format("--progress {}: expected auto, live, plain or none", name));
}

Terminal::Terminal(int descriptor) : descriptor_(terminal_behind(descriptor)) {}

Terminal::~Terminal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::size_t Terminal::columns() const {
  constexpr std::size_t usual = 80;
  if (const char* text = std::getenv("COLUMNS")) {
    std::size_t columns = 0;
    const char* end = text + std::strlen(text);
    if (std::from_chars(text, end, columns).ptr == end && columns > 0) return columns;
  }
  winsize size = {};
  if (descriptor_ < 0 || ::ioctl(descriptor_, TIOCGWINSZ, &size) != 0) return usual;
  return size.ws_col > 0 ? size.ws_col : usual;
}

Progress resolved(Progress wanted, const Terminal& terminal) {
  if (wanted != Progress::automatic) return wanted;
  const char* kind = std::getenv("TERM");
  const bool rewrites = kind == nullptr || std::strcmp(kind, "dumb") != 0;
  return terminal.exists() && rewrites ? Progress::live : Progress::plain;
}

}  // namespace train
