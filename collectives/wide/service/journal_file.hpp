#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "collectives/unique_handle.hpp"
#include "collectives/wide/protocol/journal.hpp"

namespace train::wide {

/// The coordinator's journal on disk: a directory that one process at a time may use. What append()
/// and compact() have returned from is durable.
class JournalFile {
 public:
  /// Makes the directory if there is none, locks it, replays the journal in it and cuts off a write
  /// that was torn. Throws Error if another coordinator uses it, if the file is damaged, or at
  /// anything that the system refuses.
  explicit JournalFile(const std::filesystem::path& directory);

  /// What was in the file.
  const Replay& replayed() const { return replayed_; }
  /// How many bytes of a torn write were cut off.
  std::size_t cut_bytes() const { return cut_bytes_; }
  const std::filesystem::path& path() const { return path_; }

  /// Throws Error, with what was written of the frame cut off again, when the disk is full or
  /// broken. Nothing may be appended after that.
  void append(std::span<const std::byte> frame);
  /// Replaces the file by this journal. After an Error the old one is still there.
  void compact(std::span<const std::byte> journal);

 private:
  struct DescriptorTraits {
    using Handle = int;
    static Handle empty() { return -1; }
    static void close(Handle descriptor) noexcept;
  };
  using Descriptor = UniqueHandle<DescriptorTraits>;

  static Descriptor open(const std::filesystem::path& path, int flags);
  static void make_directory(const std::filesystem::path& path);
  static void sync_directory(const std::filesystem::path& path);
  void lock();
  void read();

  std::filesystem::path directory_, path_;
  Descriptor lock_, file_;
  std::size_t bytes_ = 0;
  Replay replayed_;
  std::size_t cut_bytes_ = 0;
};

}  // namespace train::wide
