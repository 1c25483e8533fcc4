#include "libtrain/ops/cuda/activation.cuh"
#include "libtrain/ops/cuda/linear_finish.hpp"
#include "libtrain/ops/cuda/map.cuh"
#include "libtrain/ops/cuda/rows.cuh"

namespace train::cuda {
namespace {

struct Finish {
  const float* c;
  Values bias, pre, y;
  std::int64_t width, c_stride, y_stride;
  Activation activation;

  // Where the element that is number `first` without gaps lies. The division is spared where it can
  // be: all threads go the same way.
  __device__ __forceinline__ std::int64_t place(std::int64_t first, std::int64_t stride) const {
    return stride == width ? first : first / width * stride + first % width;
  }
  // Packs lie within a row: they are used only where the width is a multiple of theirs.
  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> pack = {};
    if (c != nullptr) pack = cuda::load<n>(c + place(first, c_stride));
    if (bias.defined()) {
      const Pack<n> offset = bias.load<n>(first % width);
#pragma unroll
      for (int i = 0; i < n; ++i) pack.at[i] += offset.at[i];
    }
    if (pre.defined()) pre.store<n>(first, pack);
#pragma unroll
    for (int i = 0; i < n; ++i) pack.at[i] = activate(activation, pack.at[i]);
    y.store<n>(place(first, y_stride), pack);
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

void linear_finish(const float* c, std::int64_t c_stride, const Tensor& bias, Activation activation,
                   const Tensor& pre, const Tensor& y, int multiprocessors, const Stream& stream) {
  const std::int64_t width = y.shape().width();
  const Finish finish{c,
                      bias.defined() ? Values(bias) : Values(),
                      pre.defined() ? Values(pre) : Values(),
                      Values::of_rows(y),
                      width,
                      c_stride,
                      y.row_stride(),
                      activation};
  // A c with gaps is y itself.
  const bool packs =
      width % pack_size == 0 && fits(c) && packs_fit({&bias, &pre}) && padded_packs_fit({&y});
  map(finish, y.elements(), packs, multiprocessors, stream);
}

void write_gradient(const float* c, const Gradient& target, int multiprocessors,
                    const Stream& stream) {
  map(WriteGradient{c, GradientValues(target)}, target.tensor.elements(),
      fits(c) && packs_fit({&target.tensor}), multiprocessors, stream);
}

}  // namespace train::cuda
