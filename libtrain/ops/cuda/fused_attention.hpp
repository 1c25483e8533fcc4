#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "libtrain/ops/ops.hpp"
#include "libtrain/ops/sum_order.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

/// Attention through cuDNN's fused kernels, on the stream of `memory`, where the build has cuDNN's
/// headers and the program finds the library. A kernel is chosen and compiled once per shape, which
/// takes about half a second, and kept. The same call gives the same bits, but for a backward pass
/// of SumOrder::any. Use from one thread at a time.
class FusedAttention {
 public:
  /// The backward pass of a fixed order keeps fused_backward_bytes() of each head; that of any
  /// order keeps sums, up to 12 bytes for each element of the queries. It works on as many
  /// sequences at once, or on as many heads of one, as keep to `kept_bytes_max`. The default holds
  /// 256 heads at 1024 positions, enough to fill a GPU. Where cuDNN has no kernel of any order, it
  /// is one of a fixed order.
  explicit FusedAttention(CudaMemory& memory, SumOrder order = SumOrder::fixed,
                          std::int64_t kept_bytes_max = std::int64_t{512} << 20);
  ~FusedAttention();
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;

  /// Whether this program finds cuDNN.
  static bool available();
  /// "cuDNN 9.19.0", with the order if it is not fixed, or "own kernels" with the reason.
  std::string description() const;

  /// As Ops::attention. False, with nothing done, where cuDNN has no kernel for it: for f32,
  /// dropout, whose masks are our own numbers, addresses that are no multiples of 16 bytes, and
  /// heads that are too wide or no multiple of 8 wide.
  bool forward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
               const Tensor& out, const Tensor& lse);
  /// As Ops::attention_backward. False as above, after Hopper, where cuDNN has no kernel that gives
  /// the same bits each time, and for sequences whose scores, or sums, outgrow `kept_bytes_max`.
  bool backward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dqkv);

 private:
  class Kernels;

  std::unique_ptr<Kernels> kernels_;  // null: cuDNN is not there, or does not serve this GPU
};

}  // namespace train::cuda
