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

}  // namespace train::cuda
