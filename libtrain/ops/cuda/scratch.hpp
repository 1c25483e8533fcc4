#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

/// Elements on the device that live until their scope ends and the work given in it is done: the
/// memory is ordered with the stream, so no one waits.
template <typename T>
class Scratch {
 public:
  /// Elements undefined.
  Scratch(CudaMemory& memory, std::int64_t count)
      : memory_(memory), bytes_(static_cast<std::size_t>(count) * sizeof(T)) {
    if (bytes_ > 0) data_ = static_cast<T*>(memory.allocate(bytes_));
  }
  /// A copy of the host's elements, which may change once this returns.
  Scratch(CudaMemory& memory, std::span<const T> host)
      : Scratch(memory, static_cast<std::int64_t>(host.size())) {
    if (bytes_ > 0) memory.copy_from_host(data_, host.data(), bytes_);
  }
  ~Scratch() {
    if (data_ != nullptr) memory_.release(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }

 private:
  CudaMemory& memory_;
  std::size_t bytes_;
  T* data_ = nullptr;
};

}  // namespace train::cuda
