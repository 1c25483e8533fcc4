#pragma once

#include <cstddef>
#include <utility>

#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

/// Device memory that a library's kernels work in: as large as any of them so far wanted it.
/// Kernels of one stream follow each other, so that one serves all.
class Workspace {
 public:
  explicit Workspace(CudaMemory& memory) : memory_(memory) {}
  ~Workspace() { release(); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Null where no bytes are wanted.
  void* get(std::size_t bytes) {
    if (bytes > bytes_) {
      release();
      data_ = memory_.allocate(bytes);
      bytes_ = bytes;
    }
    return bytes > 0 ? data_ : nullptr;
  }

 private:
  void release() {
    if (data_ != nullptr) memory_.release(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
  }

  CudaMemory& memory_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace train::cuda
