#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "collectives/unique_handle.hpp"
#include "libtrain/tensor/cuda/stream.hpp"

namespace train::cuda {

struct PinnedTraits {
  using Handle = void*;
  static Handle empty() { return nullptr; }
  static void close(Handle block) noexcept { cudaFreeHost(block); }
};

/// Page-locked host memory: the device copies from and to it while the host goes on.
class PinnedBlock {
 public:
  explicit PinnedBlock(std::size_t bytes);

  std::byte* data() const { return static_cast<std::byte*>(block_.get()); }

 private:
  UniqueHandle<PinnedTraits> block_;
};

/// Copies between pageable host memory and a device by way of pinned blocks in turn: while the
/// device copies one, the host copies the next. Threads may share it. Each direction has its own
/// blocks: many small ones up, because those are free only once the stream has come to them and the
/// host shall run ahead of it; two large ones down. What goes up goes through the stream; what
/// comes down has a stream of its own, so that it does not queue behind work that it need not wait
/// for.
class Staging {
 public:
  explicit Staging(const Stream& stream);

  /// Later work of the stream sees the bytes at `device`; `host` may change once this returns.
  /// Waits only for the copies of earlier calls that still hold the blocks.
  void upload(void* device, const void* host, std::size_t bytes);
  /// Waits for no work of the stream: what wrote the bytes is done. `host` holds them once this
  /// returns.
  void download(void* host, const void* device, std::size_t bytes);

 private:
  struct Part {
    Part(const Stream& stream, std::size_t bytes) : block(bytes), free(stream) {}
    PinnedBlock block;
    Event free;  // passed: the device is done with the block
  };
  struct Lane {
    Lane(const Stream& stream, std::size_t parts, std::size_t part_bytes);
    std::size_t part_bytes;
    std::mutex mutex;
    std::vector<Part> parts;
    std::size_t next = 0;
  };

  const Stream& stream_;
  const Stream down_stream_;
  Lane up_;
  Lane down_;
};

}  // namespace train::cuda
