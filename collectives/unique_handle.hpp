#pragma once

#include <utility>

namespace train {

/// The one owner of a raw handle (a communicator of MPI, a file descriptor, …): moves, never
/// copies, closes once. `Traits` says what the handle is:
///   struct FileTraits {
///     using Handle = int;
///     static Handle empty() { return -1; }
///     static void close(Handle file) noexcept { ::close(file); }
///   };
template <typename Traits>
class UniqueHandle {
 public:
  using Handle = typename Traits::Handle;

  UniqueHandle() noexcept : handle_(Traits::empty()) {}
  explicit UniqueHandle(Handle handle) noexcept : handle_(handle) {}
  UniqueHandle(UniqueHandle&& other) noexcept : handle_(other.release()) {}
  UniqueHandle& operator=(UniqueHandle&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueHandle(const UniqueHandle&) = delete;
  UniqueHandle& operator=(const UniqueHandle&) = delete;
  ~UniqueHandle() { reset(); }

  Handle get() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != Traits::empty(); }

  /// Gives the handle away; the caller closes it.
  [[nodiscard]] Handle release() noexcept { return std::exchange(handle_, Traits::empty()); }
  /// Closes the handle, if any, and owns `handle` from now on.
  void reset(Handle handle = Traits::empty()) noexcept {
    Handle old = std::exchange(handle_, handle);
    if (old != Traits::empty()) Traits::close(old);
  }

 private:
  Handle handle_;
};

}  // namespace train
