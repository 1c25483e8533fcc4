#include "libtrain/ops/cuda/fused_attention.hpp"

// A build without cuDNN.
namespace train::cuda {

class FusedAttention::Kernels {};

FusedAttention::FusedAttention(CudaMemory&, SumOrder, std::int64_t) {}

FusedAttention::~FusedAttention() = default;

bool FusedAttention::available() {
  return false;
}

std::string FusedAttention::description() const {
  return "own kernels (built without cuDNN)";
}

bool FusedAttention::forward(const Tensor&, const AttentionShape&, const Dropout&, const Tensor&,
                             const Tensor&) {
  return false;
}

bool FusedAttention::backward(const Tensor&, const AttentionShape&, const Dropout&, const Tensor&,
                              const Tensor&, const Tensor&, const Tensor&) {
  return false;
}

}  // namespace train::cuda
