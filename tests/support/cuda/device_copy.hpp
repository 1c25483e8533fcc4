#pragma once

#include <algorithm>
#include <functional>
#include <memory>

#include <cuda_runtime.h>

#include "collectives/error.hpp"
#include "collectives/types.hpp"
#include "collectives/unique_handle.hpp"

namespace train {

inline void check_cuda(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw Error(std::string(call) + ": " + cudaGetErrorName(status));
}

struct DeviceBlockTraits {
  using Handle = void*;
  static Handle empty() { return nullptr; }
  static void close(Handle block) noexcept { cudaFree(block); }
};

/// A call's buffers in the memory of a GPU: two blocks, or one where they overlap on the host, so
/// that they overlap alike.
class DeviceCopy {
 public:
  DeviceCopy(ConstBuffer send, Buffer receive, cudaStream_t stream)
      : host_(receive), stream_(stream) {
    const std::byte* written = receive.data;
    const bool some_sent = send.data && send.count > 0;
    const bool some_received = receive.data && receive.count > 0;
    send_ = send;
    receive_ = receive;
    const std::less<const std::byte*> before;
    if (some_sent && some_received && before(send.data, written + receive.bytes()) &&
        before(written, send.data + send.bytes())) {
      const auto* first = std::min(send.data, written, before);
      const auto* last = std::max(send.data + send.bytes(), written + receive.bytes(), before);
      auto* block = upload(first_, first, static_cast<std::size_t>(last - first));
      send_.data = block + (send.data - first);
      receive_.data = block + (written - first);
      return;
    }
    if (some_sent) send_.data = upload(first_, send.data, send.bytes());
    if (some_received) receive_.data = upload(second_, written, receive.bytes());
  }

  ConstBuffer send() const { return send_; }
  Buffer receive() const { return receive_; }

  /// Behind what the stream holds.
  void download() {
    if (host_.data && host_.count > 0) {
      check_cuda(cudaMemcpyAsync(host_.data, receive_.data, host_.bytes(), cudaMemcpyDeviceToHost,
                                 stream_),
                 "cudaMemcpyAsync");
    }
    check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

 private:
  std::byte* upload(UniqueHandle<DeviceBlockTraits>& block, const std::byte* data,
                    std::size_t bytes) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
    block.reset(memory);
    check_cuda(cudaMemcpyAsync(memory, data, bytes, cudaMemcpyHostToDevice, stream_),
               "cudaMemcpyAsync");
    return static_cast<std::byte*>(memory);
  }

  Buffer host_;
  cudaStream_t stream_;
  UniqueHandle<DeviceBlockTraits> first_, second_;
  ConstBuffer send_;
  Buffer receive_;
};

}  // namespace train
