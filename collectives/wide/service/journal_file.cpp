#include "collectives/wide/service/journal_file.hpp"

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train::wide {
namespace {

std::string reason(int number) {
  return std::generic_category().message(number);
}

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int number) {
  throw Error(fmt::format("cannot {} {}: {}", what, path.string(), reason(number)));
}

/// All of it at this offset, or the number of the error.
int write_all(int descriptor, std::span<const std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const auto written =
        ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::size_t>(written);
  }
  return 0;
}

}  // namespace

void JournalFile::DescriptorTraits::close(Handle descriptor) noexcept {
  ::close(descriptor);
}

JournalFile::JournalFile(const std::filesystem::path& directory)
    : directory_(directory), path_(directory / "journal") {
  make_directory(std::filesystem::absolute(directory_).lexically_normal());
  lock();
  // Of a compaction that was interrupted: the journal itself is whole.
  std::error_code ignored;
  std::filesystem::remove(directory_ / "journal.new", ignored);
  read();
}

/// With those above it that are missing. Each is durable in its own parent, whichever of them this
/// call, or one before that was interrupted, has made.
void JournalFile::make_directory(const std::filesystem::path& path) {
  std::error_code error;
  const auto parent = path.has_filename() ? path.parent_path() : path.parent_path().parent_path();
  if (std::filesystem::create_directory(path, error); error) {
    if (error != std::errc::no_such_file_or_directory || parent == path) {
      fail("make the directory", path, error.value());
    }
    make_directory(parent);
    error.clear();
    std::filesystem::create_directory(path, error);
    if (error) fail("make the directory", path, error.value());
  }
  sync_directory(parent);
}

JournalFile::Descriptor JournalFile::open(const std::filesystem::path& path, int flags) {
  Descriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!file) fail("open", path, errno);
  return file;
}

void JournalFile::sync_directory(const std::filesystem::path& path) {
  const Descriptor directory = open(path, O_RDONLY | O_DIRECTORY);
  if (::fsync(directory.get()) != 0 && errno != EINVAL) fail("sync", path, errno);
}

/// The kernel's lock, which a dead process does not keep; the file says who holds it.
void JournalFile::lock() {
  const auto path = directory_ / "lock";
  lock_ = open(path, O_RDWR | O_CREAT);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail("lock", path, errno);
    std::array<char, 32> holder{};
    const auto length = ::pread(lock_.get(), holder.data(), holder.size() - 1, 0);
    throw Error(fmt::format(
        "the journal in {} is in use by another coordinator (process {}): a job has one; stop that "
        "one, or give this one a directory of its own",
        directory_.string(), length > 0 ? holder.data() : "unknown"));
  }
  const std::string self = std::to_string(::getpid());
  if (::ftruncate(lock_.get(), 0) != 0) fail("write", path, errno);
  const int error = write_all(lock_.get(), std::as_bytes(std::span(self)), 0);
  if (error != 0) fail("write", path, error);
}

void JournalFile::read() {
  file_ = open(path_, O_RDWR | O_CREAT);
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) fail("look at", path_, errno);
  Bytes content(static_cast<std::size_t>(status.st_size));
  for (std::size_t at = 0; at < content.size();) {
    const auto got =
        ::pread(file_.get(), content.data() + at, content.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_, errno);
    if (got == 0) throw Error(path_.string() + " is cut short by another process as it is read");
    at += static_cast<std::size_t>(got);
  }
  replayed_ = replay(content);
  if (!replayed_.error.empty()) {
    throw Error(fmt::format(
        "{}: {}. Put back a good copy of the file; or move it away, and the job begins anew from "
        "the newest checkpoint of its clusters",
        path_.string(), replayed_.error));
  }
  bytes_ = replayed_.valid_bytes;
  cut_bytes_ = content.size() - bytes_;
  if (cut_bytes_ > 0 && ::ftruncate(file_.get(), static_cast<off_t>(bytes_)) != 0) {
    fail("cut a torn write off", path_, errno);
  }
  if (::fsync(file_.get()) != 0) fail("sync", path_, errno);
  sync_directory(directory_);
}

void JournalFile::append(std::span<const std::byte> frame) {
  int error = write_all(file_.get(), frame, bytes_);
  if (error == 0 && ::fdatasync(file_.get()) != 0) error = errno;
  if (error == 0) {
    bytes_ += frame.size();
    return;
  }
  // Nobody has heard of this record, so nobody misses it. If cutting fails, too, the next start
  // cuts it.
  const bool cut = ::ftruncate(file_.get(), static_cast<off_t>(bytes_)) == 0;
  if (cut) static_cast<void>(::fdatasync(file_.get()));
  file_.reset();
  throw Error(fmt::format(
      "cannot append {} bytes to {}: {}. What was decided before is safe: clusters go on with "
      "their round and wait; see to the disk, and start the coordinator again",
      frame.size(), path_.string(), reason(error)));
}

void JournalFile::compact(std::span<const std::byte> journal) {
  const auto fresh_path = directory_ / "journal.new";
  Descriptor fresh = open(fresh_path, O_RDWR | O_CREAT | O_TRUNC);
  int error = write_all(fresh.get(), journal, 0);
  if (error == 0 && ::fsync(fresh.get()) != 0) error = errno;
  if (error == 0 && ::rename(fresh_path.c_str(), path_.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(fresh_path.c_str());
    fail("write", fresh_path, error);
  }
  sync_directory(directory_);
  file_ = std::move(fresh);
  bytes_ = journal.size();
}

}  // namespace train::wide
