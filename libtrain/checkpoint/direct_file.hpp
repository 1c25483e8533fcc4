#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "collectives/unique_handle.hpp"
#include "libtrain/checkpoint/file.hpp"

namespace train {

namespace detail {

struct Unmap {
  std::uint64_t bytes = 0;
  void operator()(std::byte* pages) const noexcept;
};

}  // namespace detail

/// A file that is read in large stretches, most of them once. What the system's page cache holds
/// comes from there. The rest moves from the disk straight into the caller's memory (O_DIRECT):
/// without the cache's pages and the copy out of them it costs a fraction of the processor's time,
/// and nothing is pushed out of the cache. Any number of threads may read.
class DirectFile {
 public:
  /// Of rooms, in memory and in the file.
  static constexpr std::uint64_t alignment = 4096;

  enum class Through : std::uint8_t {
    memory,  ///< as above; ordinary reads where the file system knows no others
    cache,   ///< ordinary reads, for what others on this machine read as well
  };

  DirectFile() = default;
  explicit DirectFile(std::filesystem::path path);

  /// The same file, for ordinary reads.
  const File& file() const { return file_; }

  /// The memory that read() needs for a stretch: that of its first to that of its last block.
  static std::uint64_t room_for(std::uint64_t begin, std::uint64_t bytes);
  /// Reads [begin, begin + bytes) and says where in `room` it is. `room` is aligned and
  /// room_for(begin, bytes) long; the rest of it is undefined. Throws Error like File::read_at().
  std::span<std::byte> read(std::uint64_t begin, std::uint64_t bytes, std::span<std::byte> room,
                            Through through) const;

 private:
  struct DescriptorTraits {
    using Handle = int;
    static Handle empty() { return -1; }
    static void close(Handle descriptor) noexcept;
  };

  bool is_cached(std::uint64_t begin, std::uint64_t bytes) const;

  File file_;
  UniqueHandle<DescriptorTraits> direct_;
  std::unique_ptr<std::byte, detail::Unmap>
      pages_;  // never touched: to ask which are in the page cache
};

}  // namespace train
