#pragma once

#include <cstddef>

#include <cuda_runtime.h>

#include "collectives/nccl/check.hpp"

namespace train::nccl {

/// Device memory of one stream's work, kept and reused; grows to what is asked. Taken and given
/// back in the stream's order: an allocation that waits for the whole device could wait for a
/// collective that waits for this rank.
class Scratch {
 public:
  explicit Scratch(cudaStream_t stream) : stream_(stream) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_) cudaFreeAsync(data_, stream_);
  }

  std::byte* get(std::size_t bytes) {
    if (bytes <= bytes_) return data_;
    if (data_) check(cudaFreeAsync(data_, stream_), "cudaFreeAsync");
    data_ = nullptr;
    bytes_ = 0;
    void* data = nullptr;
    check(cudaMallocAsync(&data, bytes, stream_), "cudaMallocAsync");
    data_ = static_cast<std::byte*>(data);
    bytes_ = bytes;
    return data_;
  }

 private:
  const cudaStream_t stream_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace train::nccl
