#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"

namespace train::cuda {
namespace {

// RMS norm is layer norm about zero instead of about the mean; `centred` tells them apart.
struct Norm {
  Values x, weight, bias, y;
  float* mean;
  float* rstd;
  std::int64_t width;
  float eps;
};

// One block per row. The row comes from memory once, from the L1 cache after that.
template <bool centred, int n>
__global__ void __launch_bounds__(row_threads_max) norm_kernel(Norm norm) {
  __shared__ float room[warps_max];
  const std::int64_t row = blockIdx.x, width = norm.width, begin = row * width;
  const std::int64_t first = threadIdx.x * n, step = std::int64_t{blockDim.x} * n;
  float mean = 0.0f;
  if constexpr (centred) {
    float sum = 0.0f;
    for (std::int64_t i = first; i < width; i += step) {
      const Pack<n> x = norm.x.load<n>(begin + i);
#pragma unroll
      for (int j = 0; j < n; ++j) sum += x.at[j];
    }
    mean = combine_block(sum, room, Plus()) / static_cast<float>(width);
  }
  float squares = 0.0f;
  for (std::int64_t i = first; i < width; i += step) {
    const Pack<n> x = norm.x.load<n>(begin + i);
#pragma unroll
    for (int j = 0; j < n; ++j) squares += (x.at[j] - mean) * (x.at[j] - mean);
  }
  squares = combine_block(squares, room, Plus());
  const float rstd = 1.0f / sqrtf(squares / static_cast<float>(width) + norm.eps);
  for (std::int64_t i = first; i < width; i += step) {
    Pack<n> y = norm.x.load<n>(begin + i);
    const Pack<n> weight = norm.weight.load<n>(i);
    Pack<n> bias{};
    if (norm.bias.defined()) bias = norm.bias.load<n>(i);
#pragma unroll
    for (int j = 0; j < n; ++j) y.at[j] = (y.at[j] - mean) * rstd * weight.at[j] + bias.at[j];
    norm.y.store<n>(begin + i, y);
  }
  if (threadIdx.x == 0) {
    norm.rstd[row] = rstd;
    if constexpr (centred) norm.mean[row] = mean;
  }
}

template <bool centred>
void run_norm(const Norm& norm, std::int64_t rows, bool packs, const Stream& stream) {
  launch(packs ? norm_kernel<centred, pack_size> : norm_kernel<centred, 1>,
         row_shape(rows, norm.width, packs), stream, norm);
}

}  // namespace

void CudaOps::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                         const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const std::int64_t rows = x.shape().rows(), width = x.shape().width();
  invariant(y.elements() == x.elements() && y.type() == x.type(), "layer_norm: y is like x");
  invariant(weight.elements() == width && (!bias.defined() || bias.elements() == width),
            "layer_norm: weight and bias are as wide as x");
  invariant(mean.elements() == rows && rstd.elements() == rows, "layer_norm: statistics per row");
  const Norm norm{Values(x),          Values(weight),     Values(bias), Values(y),
                  mean.data<float>(), rstd.data<float>(), width,        eps};
  run_norm<true>(norm, rows, row_packs_fit(width, {&x, &weight, &bias, &y}), stream_);
}

void CudaOps::rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                       const Tensor& rstd) {
  const std::int64_t rows = x.shape().rows(), width = x.shape().width();
  invariant(y.elements() == x.elements() && y.type() == x.type(), "rms_norm: y is like x");
  invariant(weight.elements() == width, "rms_norm: weight is as wide as x");
  invariant(rstd.elements() == rows, "rms_norm: statistics per row");
  const Norm norm{Values(x), Values(weight),     Values(), Values(y),
                  nullptr,   rstd.data<float>(), width,    eps};
  run_norm<false>(norm, rows, row_packs_fit(width, {&x, &weight, &y}), stream_);
}

}  // namespace train::cuda
