#include "libtrain/ops/cuda/activation.cuh"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {
namespace {

struct ActivationBackward {
  Activation activation;
  Values pre, dy, dpre;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> grad = dy.load<n>(first);
    const Pack<n> x = pre.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) grad.at[i] *= activate_slope(activation, x.at[i]);
    dpre.store<n>(first, grad);
  }
};

// Rows [gate | up] of twice the width. In packs when the width is a multiple of theirs, so that a
// pack lies in one row.
struct Swiglu {
  Values gate_up, y;
  std::int64_t width;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t gate_at = first + first / width * width;
    const Pack<n> gate = gate_up.load<n>(gate_at);
    Pack<n> up = gate_up.load<n>(gate_at + width);
#pragma unroll
    for (int i = 0; i < n; ++i) up.at[i] *= activate(Activation::silu, gate.at[i]);
    y.store<n>(first, up);
  }
};

struct SwigluBackward {
  Values gate_up, dy, dgate_up;
  std::int64_t width;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t gate_at = first + first / width * width;
    Pack<n> gate = gate_up.load<n>(gate_at), up = gate_up.load<n>(gate_at + width);
    const Pack<n> grad = dy.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float g = gate.at[i], u = up.at[i];
      up.at[i] = grad.at[i] * activate(Activation::silu, g);
      gate.at[i] = grad.at[i] * u * activate_slope(Activation::silu, g);
    }
    dgate_up.store<n>(gate_at, gate);
    dgate_up.store<n>(gate_at + width, up);
  }
};

}  // namespace

void CudaOps::activation_backward(Activation activation, const Tensor& pre, const Tensor& dy,
                                  const Tensor& dpre) {
  invariant(pre.elements() == dy.elements() && dpre.elements() == dy.elements(),
            "activation_backward: three tensors of one size");
  map(ActivationBackward{activation, Values(pre), Values(dy), Values(dpre)}, dy.elements(),
      packs_fit({&pre, &dy, &dpre}), multiprocessors_, stream_);
}

void CudaOps::swiglu(const Tensor& gate_up, const Tensor& y) {
  const std::int64_t rows = y.shape().rows(), width = y.shape().width();
  invariant(gate_up.shape().rows() == rows && gate_up.shape().width() == 2 * width,
            "swiglu: y[M,H] of gate_up[M,2H]");
  map(Swiglu{Values(gate_up), Values(y), width}, y.elements(),
      width % pack_size == 0 && packs_fit({&gate_up, &y}), multiprocessors_, stream_);
}

void CudaOps::swiglu_backward(const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  const std::int64_t rows = dy.shape().rows(), width = dy.shape().width();
  invariant(gate_up.shape().rows() == rows && gate_up.shape().width() == 2 * width &&
                dgate_up.elements() == gate_up.elements(),
            "swiglu_backward: dgate_up[M,2H] of dy[M,H]");
  map(SwigluBackward{Values(gate_up), Values(dy), Values(dgate_up), width}, dy.elements(),
      width % pack_size == 0 && packs_fit({&gate_up, &dy, &dgate_up}), multiprocessors_, stream_);
}

}  // namespace train::cuda
