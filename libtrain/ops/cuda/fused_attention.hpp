#pragma once

#include <memory>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

/// Attention through cuDNN's fused kernels, on the stream of `memory`, where the build has cuDNN's
/// headers and the program finds the library. A kernel is chosen and compiled once per shape, which
/// takes about half a second, and kept. The same call gives the same bits. Use from one thread at
/// a time.
class FusedAttention {
 public:
  explicit FusedAttention(CudaMemory& memory);
  ~FusedAttention();
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;

  /// Whether this program finds cuDNN.
  static bool available();

  /// As Ops::attention. False, with nothing done, where cuDNN has no kernel for it: for f32,
  /// dropout, whose masks are our own numbers, addresses that are no multiples of 16 bytes, and
  /// heads that are too wide or no multiple of 8 wide.
  bool forward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
               const Tensor& out, const Tensor& lse);
  /// As Ops::attention_backward. False as above, and where there is no kernel that gives the same
  /// bits each time: after Hopper, and for sequences whose scores outgrow the workspace.
  bool backward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dqkv);

 private:
  class Kernels;

  std::unique_ptr<Kernels> kernels_;  // null: cuDNN is not there, or does not serve this GPU
};

}  // namespace train::cuda
