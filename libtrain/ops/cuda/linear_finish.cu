#include "libtrain/ops/cuda/activation.cuh"
#include "libtrain/ops/cuda/linear_finish.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {
namespace {

struct Finish {
  const float* c;
  Values bias, pre, y;
  std::int64_t width;
  Activation activation;

  // Packs lie within a row: they are used only where the width is a multiple of theirs.
  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> pack = {};
    if (c != nullptr) pack = cuda::load<n>(c + first);
    if (bias.defined()) {
      const Pack<n> offset = bias.load<n>(first % width);
#pragma unroll
      for (int i = 0; i < n; ++i) pack.at[i] += offset.at[i];
    }
    if (pre.defined()) pre.store<n>(first, pack);
#pragma unroll
    for (int i = 0; i < n; ++i) pack.at[i] = activate(activation, pack.at[i]);
    y.store<n>(first, pack);
  }
};

struct WriteGradient {
  const float* c;
  GradientValues target;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    target.store<n>(first, cuda::load<n>(c + first));
  }
};

bool fits(const float* c) {
  return reinterpret_cast<std::uintptr_t>(c) % 16 == 0;
}

}  // namespace

void linear_finish(const float* c, const Tensor& bias, Activation activation, const Tensor& pre,
                   const Tensor& y, int multiprocessors, const Stream& stream) {
  const std::int64_t width = y.shape().width();
  const Finish finish{c,
                      bias.defined() ? Values(bias) : Values(),
                      pre.defined() ? Values(pre) : Values(),
                      Values(y),
                      width,
                      activation};
  const bool packs = width % pack_size == 0 && fits(c) && packs_fit({&bias, &pre, &y});
  map(finish, y.elements(), packs, multiprocessors, stream);
}

void write_gradient(const float* c, const Gradient& target, int multiprocessors,
                    const Stream& stream) {
  map(WriteGradient{c, GradientValues(target)}, target.tensor.elements(),
      fits(c) && packs_fit({&target.tensor}), multiprocessors, stream);
}

}  // namespace train::cuda
