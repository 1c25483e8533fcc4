#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "libtrain/checkpoint/direct_file.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train {

/// Stretches of files in the order in which they were asked for, read by threads of its own while
/// the caller works on those before: several are on their way at a time, into a ring of 24 MiB that
/// is used over and over (or one stretch, where that is longer). One thread asks and takes.
class ReadAhead {
 public:
  ReadAhead() = default;
  /// Waits for reads under way.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// False when there is no room for it before more is taken. `file` must outlive this.
  [[nodiscard]] bool ask(const DirectFile& file, std::uint64_t begin, std::uint64_t bytes,
                         DirectFile::Through through);
  /// Waits for the stretch that was asked for first; its bytes are there until the next call.
  /// Throws the Error of its read; the ones behind it may be taken all the same.
  std::span<const std::byte> take();

 private:
  struct Stretch {
    const DirectFile* file;
    std::uint64_t begin, bytes;
    DirectFile::Through through;
    std::uint64_t at, room;  // in the ring
    std::span<const std::byte> read = {};
    std::exception_ptr failure = {};
    bool done = false;
  };
  bool place(Stretch& stretch);
  void reserve(std::uint64_t bytes);
  void let_go();
  void add_thread();
  void run();

  CpuMemory memory_;
  std::byte* ring_ = nullptr;
  std::uint64_t capacity_ = 0;
  bool taken_ = false;  // the first of stretches_

  std::mutex mutex_;
  std::condition_variable asked_, read_;
  std::deque<Stretch> stretches_;  // in their order around the ring
  std::size_t claimed_ = 0;        // of them, by threads
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace train
