#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "libtrain/tensor/cuda/pinned.hpp"
#include "libtrain/tensor/cuda/stream.hpp"
#include "libtrain/tensor/memory.hpp"

namespace train::cuda {

/// A GPU's memory, and the stream that its work is done in. Memory keeps the stream's order: a
/// block that is released may be handed out at once, since whatever the stream still does with it
/// comes before what its next owner gives the stream. Who reads or writes a block from another
/// stream makes `stream` wait for that before the release. Blocks are kept by size class; when the
/// device is full, kept blocks go back to it first.
class CudaMemory final : public Memory {
 public:
  /// Throws Error when there is no such device.
  explicit CudaMemory(int device);
  ~CudaMemory() override;

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  bool on_host() const override { return false; }
  /// Behind the stream's earlier work; `source` may change once this returns.
  void copy_from_host(void* target, const void* source, std::size_t bytes) override;
  /// Waits for the stream's earlier work.
  void copy_to_host(void* target, const void* source, std::size_t bytes) override;
  Statistics statistics() const override;

  /// In which all work on this memory is given.
  const Stream& stream() const { return stream_; }

 private:
  void* system_allocate(std::size_t size);
  void give_back_kept();

  Stream stream_;
  Staging staging_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_by_size_;
  Statistics statistics_;
};

}  // namespace train::cuda
