#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include "collectives/communicator.hpp"
#include "collectives/error.hpp"
#include "collectives/nccl/world.hpp"
#include "tests/gpu/emulated/gate.hpp"
#include "tests/support/cuda/device_copy.hpp"

// What the tests of groups of GPUs have in common.
namespace train {

/// A rank with a GPU, a compute stream and a group.
class Rank {
 public:
  explicit Rank(Communicator& host, nccl::Sums sums = nccl::Sums::precise) : device_(host.rank()) {
    check_cuda(cudaSetDevice(device_), "cudaSetDevice");
    check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate");
    ranks_ =
        nccl::make_communicator(host, {.device = device_, .compute_stream = stream_, .sums = sums});
  }
  ~Rank() {
    ranks_.reset();
    cudaSetDevice(device_);
    cudaStreamSynchronize(stream_);
    for (float* block : blocks_) cudaFree(block);
    cudaStreamDestroy(stream_);
  }

  Communicator& ranks() { return *ranks_; }
  cudaStream_t stream() const { return stream_; }

  Buffer floats(std::size_t count, float value) {
    void* block = nullptr;
    check_cuda(cudaMalloc(&block, count * sizeof(float)), "cudaMalloc");
    blocks_.push_back(static_cast<float*>(block));
    const auto& values = sources_.emplace_back(count, value);
    check_cuda(cudaMemcpyAsync(block, values.data(), count * sizeof(float), cudaMemcpyHostToDevice,
                               stream_),
               "cudaMemcpyAsync");
    return {block, count, DataType::f32};
  }
  /// Behind what the compute stream holds.
  std::vector<float> read(Buffer buffer) {
    std::vector<float> values(buffer.count);
    check_cuda(cudaMemcpyAsync(values.data(), buffer.data, buffer.bytes(), cudaMemcpyDeviceToHost,
                               stream_),
               "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return values;
  }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
  std::vector<float*> blocks_;
  std::deque<std::vector<float>> sources_;  // which the stream may still read
  std::unique_ptr<Communicator> ranks_;
};

inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace train
