#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace train::bench {

/// Writes so many bytes, 8 MiB at a time, and fsyncs: `dd bs=8M conv=fsync`.
void write_plainly(const std::filesystem::path& path, std::uint64_t bytes);

/// The bytes of some files, one after another.
class FileBytes {
 public:
  /// The regular files of a directory, by name.
  explicit FileBytes(const std::filesystem::path& directory);

  std::uint64_t bytes() const { return bytes_; }
  /// Reads part `part` of so many equal ones, 8 MiB at a time into one buffer: `dd bs=8M`, or with
  /// `iflag=direct` past the page cache.
  void read_part(int part, int parts, bool direct) const;
  /// Lets the system forget what it keeps of them in memory, which must be on the disk.
  void drop_from_cache() const;
  /// The part of their pages that is in memory.
  double cached() const;

 private:
  std::vector<std::filesystem::path> paths_;
  std::uint64_t bytes_ = 0;
};

}  // namespace train::bench
