// Ops that have no kernel yet refuse by name.
#include <string>

#include "libtrain/ops/cuda/cuda_ops.hpp"

namespace train::cuda {
namespace {

[[noreturn]] void refuse(const char* op) {
  throw Error(std::string("the CUDA backend has no ").append(op).append(" yet: use --device cpu"));
}

}  // namespace

void CudaOps::linear(const Tensor&, const Tensor&, const Tensor&, Activation, const Tensor&,
                     const Tensor&) {
  refuse("linear");
}
void CudaOps::linear_grad_input(const Tensor&, const Tensor&, const Gradient&) {
  refuse("linear_grad_input");
}
void CudaOps::linear_grad_weight(const Tensor&, const Tensor&, const Gradient&, const Gradient&) {
  refuse("linear_grad_weight");
}
double CudaOps::bf16_speedup() {
  return 1.0;
}
void CudaOps::attention(const Tensor&, const AttentionShape&, const Dropout&, const Tensor&,
                        const Tensor&) {
  refuse("attention");
}
void CudaOps::attention_backward(const Tensor&, const AttentionShape&, const Dropout&,
                                 const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
  refuse("attention_backward");
}
void CudaOps::attention_extend(const Tensor&, const AttentionShape&, std::int64_t, const Tensor&,
                               const Tensor&, const Tensor&) {
  refuse("attention_extend");
}
void CudaOps::activation_backward(Activation, const Tensor&, const Tensor&, const Tensor&) {
  refuse("activation_backward");
}
void CudaOps::swiglu(const Tensor&, const Tensor&) {
  refuse("swiglu");
}
void CudaOps::swiglu_backward(const Tensor&, const Tensor&, const Tensor&) {
  refuse("swiglu");
}
void CudaOps::embedding(std::span<const std::int32_t>, const Tensor&, const Tensor&, std::int64_t,
                        std::int64_t, const Tensor&) {
  refuse("embedding");
}
void CudaOps::embedding_backward(std::span<const std::int32_t>, const Tensor&, std::int64_t,
                                 const Gradient&, const Gradient&) {
  refuse("embedding_backward");
}
void CudaOps::layer_norm(const Tensor&, const Tensor&, const Tensor&, float, const Tensor&,
                         const Tensor&, const Tensor&) {
  refuse("layer_norm");
}
void CudaOps::layer_norm_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                  const Tensor&, const Gradient&, const Gradient&,
                                  const Gradient&) {
  refuse("layer_norm_backward");
}
void CudaOps::rms_norm(const Tensor&, const Tensor&, float, const Tensor&, const Tensor&) {
  refuse("rms_norm");
}
void CudaOps::rms_norm_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                const Gradient&, const Gradient&) {
  refuse("rms_norm_backward");
}
void CudaOps::rotary(const Tensor&, const AttentionShape&, std::int64_t, float, bool) {
  refuse("rotary");
}
void CudaOps::dropout(const Tensor&, const Dropout&, const Tensor&) {
  refuse("dropout");
}
void CudaOps::cross_entropy(const Tensor&, std::span<const std::int32_t>, float, const Tensor&,
                            const Tensor&) {
  refuse("cross_entropy");
}
void CudaOps::row_maximum(const Tensor&, const Tensor&) {
  refuse("row_maximum");
}
void CudaOps::cross_entropy_parts(const Tensor&, std::span<const std::int32_t>, const Tensor&,
                                  const Tensor&) {
  refuse("cross_entropy_parts");
}
void CudaOps::cross_entropy_gradient(const Tensor&, std::span<const std::int32_t>, const Tensor&,
                                     const Tensor&, std::span<const float>, const Tensor&) {
  refuse("cross_entropy_gradient");
}
void CudaOps::adamw(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                    const AdamWStep&) {
  refuse("adamw");
}
double CudaOps::sum_of_squares(const Tensor&) {
  refuse("sum_of_squares");
}
bool CudaOps::all_finite(const Tensor&) {
  refuse("all_finite");
}

}  // namespace train::cuda
