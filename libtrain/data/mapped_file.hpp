#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace train {

/// A regular file mapped read-only into memory: nothing is read until it is touched, so files may
/// be larger than memory. The file must keep its size while it is mapped; another process that
/// truncates it ends this one with SIGBUS (see MappedFileFault). Files of up to 16 KiB are read
/// instead: a process can map only some 65,000.
class MappedFile {
 public:
  /// Throws Error naming the path if it cannot be opened, is no regular file, or cannot be mapped.
  /// An empty file gives empty bytes().
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::byte> copy_;  // of a small file
  std::span<const std::byte> bytes_;
};

}  // namespace train
