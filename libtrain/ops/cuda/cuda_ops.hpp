#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "libtrain/ops/ops.hpp"
#include "libtrain/ops/rotary_table.hpp"
#include "libtrain/ops/sum_order.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

class FusedAttention;
class Matrix;

/// Whose kernels attention runs on: cuDNN's where it has one, or this library's alone.
enum class AttentionKernels : std::uint8_t { cudnn_or_own, own };

/// Ops on one NVIDIA GPU, f32 and bf16. Every op puts its kernels into one stream and returns; only
/// sums that go to the host wait. Matrix products go through cuBLASLt, attention through cuDNN
/// where it is found and has a kernel. No op uses atomic additions,
/// but cuDNN's of SumOrder::any, and grids depend on shapes and the model of GPU alone, so that the
/// same call gives the same bits.
class CudaOps final : public Ops {
 public:
  /// `memory` is that of a device, with the stream on which the ops run.
  explicit CudaOps(CudaMemory& memory, AttentionKernels attention = AttentionKernels::cudnn_or_own,
                   SumOrder order = SumOrder::fixed);
  ~CudaOps() override;

  /// The GPU, and whose kernels attention of bf16 has.
  std::string description() const override;
  std::optional<double> peak_flops(DataType type) const override;
  /// Rows begin at lines of 128 bytes: matrix kernels want multiples of 16, and whole lines are
  /// read and written in the fewest transfers.
  std::int64_t padded_width(std::int64_t width, DataType type) const override;
  /// Up to 4096, whose products take ten times as long as the head's gradient takes to pass twice
  /// through memory; fewer where the logits would be more than 1 GiB of f32.
  std::int64_t loss_rows(std::int64_t vocabulary) const override;

  void linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
              const Tensor& pre, const Tensor& y) override;
  void linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) override;
  void linear_grad_activation(const Tensor& dy, const Tensor& w, Activation activation,
                              const Tensor& pre, const Tensor& dpre) override;
  void linear_grad_weight(const Tensor& dy, const Tensor& x, const Gradient& dw,
                          const Gradient& dbias) override;
  void activation_backward(Activation activation, const Tensor& pre, const Tensor& dy,
                           const Tensor& dpre) override;
  void swiglu(const Tensor& gate_up, const Tensor& y) override;
  void swiglu_backward(const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) override;

  void embedding(std::span<const std::int32_t> tokens, const Tensor& table, const Tensor& positions,
                 const RowPositions& places, const Tensor& y) override;
  void embedding_backward(std::span<const std::int32_t> tokens, const Tensor& dy,
                          const RowPositions& places, const Gradient& dtable,
                          const Gradient& dpositions) override;

  void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                  const Tensor& y, const Tensor& mean, const Tensor& rstd) override;
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                           const Tensor& mean, const Tensor& rstd, const Gradient& dx,
                           const Gradient& dweight, const Gradient& dbias) override;
  void rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                const Tensor& rstd) override;
  void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                         const Tensor& rstd, const Gradient& dx, const Gradient& dweight) override;
  void add_layer_norm(const Tensor& a, const Tensor& b, const Tensor& weight, const Tensor& bias,
                      float eps, const Tensor& sum, const Tensor& y, const Tensor& mean,
                      const Tensor& rstd) override;
  void add_rms_norm(const Tensor& a, const Tensor& b, const Tensor& weight, float eps,
                    const Tensor& sum, const Tensor& y, const Tensor& rstd) override;

  void rotary(const Tensor& qkv, const AttentionShape& shape, std::int64_t first_position,
              const RotaryFrequencies& frequencies, bool inverse) override;
  void attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                 const Tensor& out, const Tensor& lse) override;
  void attention_backward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                          const Tensor& out, const Tensor& lse, const Tensor& dout,
                          const Tensor& dqkv) override;
  void attention_extend(const Tensor& qkv, const AttentionShape& shape, std::int64_t position,
                        const Tensor& keys, const Tensor& values, const Tensor& out) override;

  void dropout(const Tensor& x, const Dropout& dropout, const Tensor& y) override;
  void add(const Tensor& a, const Tensor& b, const Tensor& y) override;
  void scale(const Tensor& x, float factor) override;
  void fill(const Tensor& x, float value) override;
  void convert(const Tensor& source, const Tensor& target) override;
  void copy_columns(const Tensor& from, std::int64_t from_column, std::int64_t count,
                    const Gradient& to, std::int64_t to_column) override;

  void cross_entropy(const Tensor& logits, std::span<const std::int32_t> targets, float scale,
                     const Tensor& losses, const Tensor& dlogits) override;
  void row_maximum(const Tensor& logits, const Tensor& maximum) override;
  void cross_entropy_parts(const Tensor& logits, std::span<const std::int32_t> targets,
                           const Tensor& maximum, const Tensor& sums) override;
  void cross_entropy_gradient(const Tensor& logits, std::span<const std::int32_t> targets,
                              const Tensor& maximum, const Tensor& sums,
                              std::span<const float> row_scale, const Tensor& dlogits) override;

  void adamw(std::span<const AdamWPart> parts, const AdamWStep& step) override;
  double sum_of_squares(std::span<const Tensor> parts) override;
  bool all_finite(const Tensor& x) override;

 private:
  /// Angles of at least `positions` positions, on the device.
  const float* rotary_angles(std::int64_t positions, std::int64_t head_width,
                             const RotaryFrequencies& frequencies);
  void add_token_rows(std::span<const std::int32_t> tokens, const Tensor& dy,
                      const Gradient& dtable);
  /// Column sums of dy[M,N] into dbias: rows in groups, groups in order.
  void column_sums(const Tensor& dy, const Gradient& dbias);
  /// Of layer norm, or of RMS norm, which has no mean and no bias.
  template <bool centred>
  void norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const float* mean,
                     const float* rstd, const Gradient& dx, const Gradient& dweight,
                     const Gradient& dbias);

  CudaMemory& memory_;
  const Stream& stream_;
  int multiprocessors_ = 0;
  int shared_bytes_max_ = 0;  // of one block
  RotaryTable rotary_table_;
  // What of it is on the device.
  std::map<std::pair<std::int64_t, RotaryFrequencies>, Tensor> device_tables_;
  std::unique_ptr<Matrix> matrix_;
  std::unique_ptr<FusedAttention> fused_attention_;  // null: AttentionKernels::own
};

}  // namespace train::cuda
