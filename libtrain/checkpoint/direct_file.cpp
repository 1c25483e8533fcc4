#include "libtrain/checkpoint/direct_file.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// Of reads through the cache.
constexpr std::uint64_t ahead_bytes = std::uint64_t{16} << 20;

std::uint64_t block_begin(std::uint64_t at) {
  return at / DirectFile::alignment * DirectFile::alignment;
}

// False when the first `needed` bytes did not come: the caller then reads in the ordinary way,
// which works or says why not.
bool read_directly(int descriptor, std::uint64_t begin, std::span<std::byte> out,
                   std::uint64_t needed) {
  std::uint64_t done = 0;
  while (done < needed) {
    if (done % DirectFile::alignment != 0) return false;
    const ssize_t count =
        ::pread(descriptor, out.data() + done, out.size() - done, static_cast<off_t>(begin + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::uint64_t>(count);
  }
  return true;
}

}  // namespace

void DirectFile::DescriptorTraits::close(Handle descriptor) noexcept {
  ::close(descriptor);
}

void detail::Unmap::operator()(std::byte* pages) const noexcept {
  ::munmap(pages, bytes);
}

DirectFile::DirectFile(std::filesystem::path path) : file_(std::move(path), File::Mode::read) {
  // Refused by file systems that have no such reads.
  direct_.reset(::open(file_.path().c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  const std::uint64_t bytes = file_.size();
  if (!direct_ || bytes == 0) return;
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file_.descriptor(), 0);
  if (mapped == MAP_FAILED) return;
  pages_ = {static_cast<std::byte*>(mapped), detail::Unmap{bytes}};
}

// Where the system does not tell, as of another user's file, it says yes. (A read with RWF_NOWAIT
// would be a way to ask, but has the kernel read ahead what it does not find.)
bool DirectFile::is_cached(std::uint64_t begin, std::uint64_t bytes) const {
  const std::uint64_t mapped_bytes = pages_ ? pages_.get_deleter().bytes : 0;
  if (begin >= mapped_bytes) return true;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  begin = begin / page * page;
  bytes = std::min(bytes, mapped_bytes - begin);
  std::vector<unsigned char> states((bytes + page - 1) / page);
  if (::mincore(pages_.get() + begin, bytes, states.data()) != 0) return true;
  return std::ranges::all_of(states, [](unsigned char state) { return (state & 1) != 0; });
}

std::uint64_t DirectFile::room_for(std::uint64_t begin, std::uint64_t bytes) {
  return block_begin(begin + bytes + alignment - 1) - block_begin(begin);
}

std::span<std::byte> DirectFile::read(std::uint64_t begin, std::uint64_t bytes,
                                      std::span<std::byte> room, Through through) const {
  invariant(room.size() == room_for(begin, bytes), "a room holds the blocks of its stretch");
  const std::uint64_t skip = begin - block_begin(begin);
  const std::span<std::byte> out = room.subspan(skip, bytes);
  if (through == Through::memory && !is_cached(block_begin(begin), room.size()) &&
      read_directly(direct_.get(), block_begin(begin), room, skip + bytes)) {
    return out;
  }
  // What comes next lies behind it, most of the time: read while this is looked at.
  file_.will_read(begin + bytes, ahead_bytes);
  file_.read_at(begin, out);
  return out;
}

}  // namespace train
