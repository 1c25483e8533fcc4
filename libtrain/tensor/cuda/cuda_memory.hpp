#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "libtrain/tensor/cuda/pinned.hpp"
#include "libtrain/tensor/cuda/stream.hpp"
#include "libtrain/tensor/memory.hpp"

namespace train::cuda {

/// A GPU's memory, and the stream that its work is done in. Memory keeps the stream's order: a
/// block that is released may be handed out at once, since whatever the stream still does with it
/// comes before what its next owner gives the stream. Who reads or writes a block from another
/// stream makes `stream` wait for that before the release. Blocks are kept by size class. When the
/// device is full, a kept block serves that is at most twice as large as was asked; then kept
/// blocks go back to the device, no more of them than make room.
class CudaMemory final : public Memory {
 public:
  /// How long what is destroyed waits for the stream's work.
  static constexpr std::chrono::milliseconds default_grace = std::chrono::seconds(10);

  /// Throws Error when there is no such device.
  explicit CudaMemory(int device, std::chrono::milliseconds grace = default_grace);
  ~CudaMemory() override;

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  bool on_host() const override { return false; }
  /// Behind the stream's earlier work; `source` may change once this returns.
  void copy_from_host(void* target, const void* source, std::size_t bytes) override;
  /// Waits for the stream's earlier work.
  void copy_to_host(void* target, const void* source, std::size_t bytes) override;
  void wait_for_work() override { stream_.synchronize(); }
  void copy_to_host_at_once(void* target, const void* source, std::size_t bytes) override;
  Statistics statistics() const override;

  /// In which all work on this memory is given.
  const Stream& stream() const { return stream_; }
  /// For destructors: false when the stream's work does not end within the grace, because the GPU
  /// hangs. Then they must leave what that work uses as it is: CUDA and its libraries wait for the
  /// device before they free anything, and nobody would hear of the error that ends the program.
  bool work_ends() const noexcept;

 private:
  struct Block {
    void* data = nullptr;
    std::size_t size = 0;
  };

  /// The smallest kept block of size_min to size_max, if there is one.
  Block take_kept(std::size_t size_min, std::size_t size_max);
  Block system_allocate(std::size_t size);
  Block allocate_when_full(std::size_t size);
  void give_back(Block block);
  void give_back_kept();

  Stream stream_;
  std::unique_ptr<Staging> staging_;
  std::chrono::milliseconds grace_;
  mutable std::atomic<bool> hangs_{false};
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_by_size_;
  std::unordered_map<void*, std::size_t> larger_;  // sizes of blocks in use that are no size class
                                                   // of what was asked
  Statistics statistics_;
};

}  // namespace train::cuda
