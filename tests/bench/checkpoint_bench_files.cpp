#include "tests/bench/checkpoint_bench_files.hpp"

#include <algorithm>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libtrain/checkpoint/direct_file.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t chunk_bytes = 8 << 20;

void read_range(const fs::path& path, std::uint64_t begin, std::uint64_t end, bool direct) {
  const DirectFile file(path);
  // Of whole huge pages, as a careful program would have it.
  CpuMemory memory;
  const std::uint64_t room_bytes = chunk_bytes + 2 * DirectFile::alignment;
  auto* const room = static_cast<std::byte*>(memory.allocate(room_bytes));
  for (std::uint64_t at = begin; at < end; at += chunk_bytes) {
    const std::uint64_t bytes = std::min(chunk_bytes, end - at);
    if (direct) {
      file.read(at, bytes, {room, DirectFile::room_for(at, bytes)}, DirectFile::Through::memory);
    } else {
      file.file().read_at(at, {room, bytes});
    }
  }
  memory.release(room, room_bytes);
}

}  // namespace

void write_plainly(const fs::path& path, std::uint64_t bytes) {
  const std::vector<std::byte> chunk(chunk_bytes, std::byte{7});
  File file(path, File::Mode::truncate);
  for (std::uint64_t at = 0; at < bytes; at += chunk_bytes) {
    file.write_at(at, std::span(chunk).first(std::min(chunk_bytes, bytes - at)));
  }
  file.sync();
}

FileBytes::FileBytes(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    paths_.push_back(entry.path());
    bytes_ += entry.file_size();
  }
  std::ranges::sort(paths_);
}

void FileBytes::read_part(int part, int parts, bool direct) const {
  const auto border = [&](int of) {
    return bytes_ * static_cast<std::uint64_t>(of) / static_cast<std::uint64_t>(parts) /
           DirectFile::alignment * DirectFile::alignment;
  };
  const std::uint64_t first = border(part);
  const std::uint64_t last = part + 1 == parts ? bytes_ : border(part + 1);
  std::uint64_t begin = 0;
  for (const fs::path& path : paths_) {
    const std::uint64_t end = begin + fs::file_size(path);
    if (first < end && begin < last) {
      read_range(path, std::max(first, begin) - begin, std::min(last, end) - begin, direct);
    }
    begin = end;
  }
}

void FileBytes::drop_from_cache() const {
  for (const fs::path& path : paths_) {
    const File file(path, File::Mode::read);
    ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

double FileBytes::cached() const {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t pages = 0, in_memory = 0;
  for (const fs::path& path : paths_) {
    const File file(path, File::Mode::read);
    const std::uint64_t bytes = file.size();
    if (bytes == 0) continue;
    void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (mapped == MAP_FAILED) continue;
    std::vector<unsigned char> here((bytes + page - 1) / page);
    ::mincore(mapped, bytes, here.data());
    ::munmap(mapped, bytes);
    pages += here.size();
    in_memory += static_cast<std::uint64_t>(
        std::ranges::count_if(here, [](unsigned char state) { return (state & 1) != 0; }));
  }
  return pages == 0 ? 0.0 : static_cast<double>(in_memory) / static_cast<double>(pages);
}

}  // namespace train::bench
