#include "libtrain/checkpoint/file.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// Linux moves at most 0x7ffff000 bytes per call.
constexpr std::size_t bytes_per_call_max = std::size_t{1} << 30;

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int code) {
  throw Error(fmt::format("cannot {} {}: {} (errno {})", what, path.string(),
                          std::generic_category().message(code), code));
}

int flags_of(File::Mode mode) {
  switch (mode) {
    case File::Mode::read:
      return O_RDONLY;
    case File::Mode::truncate:
      return O_WRONLY | O_CREAT | O_TRUNC;
    case File::Mode::append:
      return O_WRONLY | O_CREAT | O_APPEND;
    case File::Mode::update:
      return O_WRONLY;
  }
  unreachable("unknown File::Mode");
}

/// The file that `path` stands for, which need not exist: a rename onto a link would replace the
/// link and leave its target as it was.
std::filesystem::path behind_links(std::filesystem::path path) {
  constexpr int links_max = 40;  // as Linux
  const std::filesystem::path given = path;
  std::error_code code;
  for (int links = 0; std::filesystem::is_symlink(path, code); ++links) {
    if (links == links_max) fail("follow the links of", given, ELOOP);
    const auto target = std::filesystem::read_symlink(path, code);
    if (code) fail("read the link", path, code.value());
    path = path.parent_path() / target;
  }
  return path;
}

/// A rename would put a file in place of a device, which others need, or of a pipe, from which
/// nobody would read it.
void refuse_special(const std::filesystem::path& path) {
  using std::filesystem::file_type;
  std::error_code unknown;  // is told by what opens it
  const file_type type = std::filesystem::status(path, unknown).type();
  if (type == file_type::regular || type == file_type::not_found || type == file_type::none) return;
  const bool device = type == file_type::character || type == file_type::block;
  const char* kind = type == file_type::directory ? "directory"
                     : device                     ? "device"
                     : type == file_type::fifo    ? "pipe"
                     : type == file_type::socket  ? "socket"
                                                  : "special file";
  throw Error(fmt::format("cannot write {}: it is a {}, which a file would replace; name a file",
                          path.string(), kind));
}

}  // namespace

File::File(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  do {
    descriptor_ = ::open(path_.c_str(), flags_of(mode) | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) fail(mode == Mode::read ? "open" : "open for writing", path_, errno);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::uint64_t File::size() const {
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) fail("read the size of", path_, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("cannot read {}: not a regular file", path_.string()));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

void File::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), std::min(out.size(), bytes_per_call_max),
                                  static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read", path_, errno);
    if (count == 0) {
      throw Error(fmt::format("cannot read {}: the file ends at byte {}, {} bytes short",
                              path_.string(), offset, out.size()));
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void File::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), bytes_per_call_max),
                 static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void File::begin_writeback(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  ::sync_file_range(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                    SYNC_FILE_RANGE_WRITE);
}

void File::will_read(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                  POSIX_FADV_WILLNEED);
}

void File::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::write(descriptor_, bytes.data(), std::min(bytes.size(), bytes_per_call_max));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void File::write_whole(std::string_view bytes) {
  struct stat before = {};
  const bool known = ::fstat(descriptor_, &before) == 0 && S_ISREG(before.st_mode);
  try {
    write(bytes);
  } catch (const Error&) {
    // Pipes and devices keep what they took.
    if (known && ::ftruncate(descriptor_, before.st_size) == 0) {
      ::lseek(descriptor_, before.st_size, SEEK_SET);
    }
    throw;
  }
}

void File::resize(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) fail("resize", path_, errno);
}

void File::sync() {
  // EINVAL: a directory or device of a file system that has nothing to sync.
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail("sync to disk", path_, errno);
}

void File::close() {
  // A network file system may report a failed write only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("close", path_, errno);
}

void create_parent_directories(const std::filesystem::path& file) {
  const std::filesystem::path parent = file.parent_path();
  if (parent.empty()) return;
  std::error_code code;
  std::filesystem::create_directories(parent, code);
  if (code) fail("create the directory", parent, code.value());
}

AtomicFile::AtomicFile(std::filesystem::path path) {
  refuse_special(path);  // as given: what links in /proc name is no path
  path_ = behind_links(std::move(path));
  create_parent_directories(path_);
  // The process id keeps apart ranks that write the same file by mistake.
  file_ = File(fmt::format("{}.{}.partial", path_.string(), ::getpid()), File::Mode::truncate);
}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(file_.path().c_str());
}

void AtomicFile::commit() {
  file_.sync();
  file_.close();
  if (::rename(file_.path().c_str(), path_.c_str()) != 0)
    fail("rename a new file to", path_, errno);
  committed_ = true;
  // The new name is durable once its directory is.
  File(path_.has_parent_path() ? path_.parent_path() : ".", File::Mode::read).sync();
}

}  // namespace train
