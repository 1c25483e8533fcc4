#include "libtrain/data/mapped_file.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train {
namespace {

[[noreturn]] void fail(const char* action, const std::string& path, int code) {
  throw Error(fmt::format("cannot {} '{}': {}", action, path,
                          std::error_code(code, std::generic_category()).message()));
}

/// The mapping outlives the descriptor, so thousands of shards hold no descriptors.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

/// Linux maps some 65,000 files per process, and corpora have more: small ones are read.
constexpr std::size_t kReadBytes = 16 << 10;

std::vector<std::byte> read_small(int file, std::size_t size, const std::string& path) {
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size;) {
    const ssize_t count = ::read(file, bytes.data() + at, size - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read", path, errno);
    if (count == 0) throw Error(fmt::format("cannot read '{}': it became shorter", path));
    at += static_cast<std::size_t>(count);
  }
  return bytes;
}

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  // Without O_NONBLOCK a named pipe would hang here before fstat could refuse it.
  const Descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) fail("open", path_, errno);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) fail("inspect", path_, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("cannot read '{}': it is {}, not a regular file", path_,
                            S_ISDIR(status.st_mode) ? "a directory" : "a device or pipe"));
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size <= kReadBytes) {
    copy_ = read_small(file.value, size, path_);
    bytes_ = copy_;
    return;
  }
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (memory == MAP_FAILED && errno == ENOMEM) {
    throw Error(
        fmt::format("cannot map '{}': the system lets a process map no more files at once "
                    "(vm.max_map_count); join files, or make token shards of texts",
                    path_));
  }
  if (memory == MAP_FAILED) fail("map", path_, errno);
  bytes_ = {static_cast<const std::byte*>(memory), size};
}

MappedFile::~MappedFile() {
  if (copy_.empty() && !bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      copy_(std::exchange(other.copy_, {})),
      bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(copy_, other.copy_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::string_view MappedFile::text() const {
  return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

}  // namespace train
