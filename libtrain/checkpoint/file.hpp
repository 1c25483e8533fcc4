#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace train {

/// An open file. Every call is checked: what fails throws Error with the path and the system's
/// reason. Owns the descriptor; moves, does not copy.
class File {
 public:
  enum class Mode : std::uint8_t {
    read,      ///< must exist
    truncate,  ///< created, or emptied
    append,    ///< created, or written at its end
    update,    ///< must exist; written in place
  };

  File() = default;
  File(std::filesystem::path path, Mode mode);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::filesystem::path& path() const { return path_; }
  bool is_open() const { return descriptor_ >= 0; }
  /// Stays with this object.
  int descriptor() const { return descriptor_; }
  std::uint64_t size() const;

  /// Fills `out` from `offset`; a file that ends before is an Error.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Lets the system begin to bring what was written to the disk, so that sync() has less to wait
  /// for, or to read ahead. Hints: nothing happens where they are not known.
  void begin_writeback(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  void will_read(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  /// At the file's position: its end in append mode.
  void write(std::string_view bytes);
  /// The same, but nothing stays in the file where the disk does not take all.
  void write_whole(std::string_view bytes);
  /// Cuts the file off, or lengthens it with zeros.
  void resize(std::uint64_t size);
  /// Returns when the content is on the disk.
  void sync();
  void close();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Makes the directories above `file`, and throws Error naming the first that cannot be made.
void create_parent_directories(const std::filesystem::path& file);

/// A file that appears under its name only when it is whole: written under a temporary name beside
/// it, synced, then renamed, replacing the file that had the name. After a crash either the old
/// content or the new one is there. Without commit() nothing remains. A link stays one: the file
/// that it names is replaced, or made.
class AtomicFile {
 public:
  AtomicFile() = default;
  /// Makes missing directories. Throws Error for a name of anything but a file: a device, a pipe.
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  File& file() { return file_; }
  void commit();

 private:
  std::filesystem::path path_;
  File file_;
  bool committed_ = false;
};

}  // namespace train
