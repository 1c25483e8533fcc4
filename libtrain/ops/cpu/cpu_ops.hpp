#pragma once

#include <string>

#include "libtrain/ops/adamw_factors.hpp"
#include "libtrain/ops/cpu/gemm.hpp"
#include "libtrain/ops/ops.hpp"
#include "libtrain/ops/rotary_table.hpp"

namespace train::cpu {

/// The fast host implementation of Ops. Matrix products go through oneDNN; all else are loops that
/// the compiler vectorises, split over OpenMP threads by shape alone. Scratch comes from the
/// device's memory. Use from one thread at a time; several may live in one process.
class CpuOps final : public Ops {
 public:
  CpuOps(Memory& memory, int threads);

  std::string description() const override;
  double bf16_speedup() override;

  void linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
              const Tensor& pre, const Tensor& y) override;
  void linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) override;
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
  // Rounds `values` into the gradient or adds them to it.
  void write_gradient(const Gradient& gradient, const float* values);
  // y = act(pre).
  void activate_into(Activation activation, const Tensor& pre, const Tensor& y);
  void finish_norm_backward(float* sums, int parts, std::int64_t width, const Gradient& dweight,
                            const Gradient& dbias);
  void add_token_rows(std::span<const std::int32_t> tokens, const Tensor& dy,
                      const Gradient& dtable);
  // 1 where an attention is too small to share.
  int attention_threads(const AttentionShape& shape) const;
  void update(const AdamWPart& part, const AdamWFactors& factors, float decay);
  double squares_of(const Tensor& x);
  // Column sums of dy into dbias.
  void column_sums(const Tensor& dy, const Gradient& dbias);

  Memory& memory_;
  Gemm gemm_;
  int threads_;
  RotaryTable rotary_table_;
};

}  // namespace train::cpu
