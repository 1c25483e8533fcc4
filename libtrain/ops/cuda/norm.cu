#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"

namespace train::cuda {
namespace {

// RMS norm is layer norm about zero instead of about the mean; `centred` tells them apart. Where a
// and b are defined, x is their sum, and is written.
struct Norm {
  Values a, b, x, weight, bias, y;
  float* mean;
  float* rstd;
  std::int64_t width;
  float eps;
};

// x from `at` on, as the first pass over a row finds or makes it.
template <bool adds, int n>
__device__ __forceinline__ Pack<n> enter(const Norm& norm, std::int64_t at) {
  if constexpr (adds) {
    Pack<n> sum = norm.a.load<n>(at);
    const Pack<n> b = norm.b.load<n>(at);
#pragma unroll
    for (int j = 0; j < n; ++j) sum.at[j] += b.at[j];
    sum = norm.x.rounded(sum);
    norm.x.store<n>(at, sum);
    return sum;
  } else {
    return norm.x.load<n>(at);
  }
}

// One block per row. The row comes from memory once, from the caches after that: each thread reads
// again what it has read, or written, itself.
template <bool centred, bool adds, int n>
__global__ void __launch_bounds__(row_threads_max) norm_kernel(Norm norm) {
  __shared__ float room[warps_max];
  const std::int64_t row = blockIdx.x, width = norm.width, begin = row * width;
  const std::int64_t first = threadIdx.x * n, step = std::int64_t{blockDim.x} * n;
  float mean = 0.0f;
  if constexpr (centred) {
    float sum = 0.0f;
    for (std::int64_t i = first; i < width; i += step) {
      const Pack<n> x = enter<adds, n>(norm, begin + i);
#pragma unroll
      for (int j = 0; j < n; ++j) sum += x.at[j];
    }
    mean = combine_block(sum, room, Plus()) / static_cast<float>(width);
  }
  float squares = 0.0f;
  for (std::int64_t i = first; i < width; i += step) {
    const Pack<n> x = enter < adds && !centred, n > (norm, begin + i);
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

// The tensors of one norm; a, b, bias and mean are undefined where it has none.
struct NormTensors {
  Tensor a{}, b{}, x{}, weight{}, bias{}, y{}, mean{}, rstd{};
};

template <bool centred>
void run_norm(const NormTensors& norm, float eps, const Stream& stream) {
  const std::int64_t rows = norm.y.shape().rows(), width = norm.y.shape().width();
  const bool adds = norm.a.defined();
  for (const Tensor& like_y : {norm.x, adds ? norm.a : norm.x, adds ? norm.b : norm.x}) {
    invariant(like_y.elements() == norm.y.elements() && like_y.type() == norm.y.type(),
              "what is normed, and what it is the sum of, are like y");
  }
  invariant(
      norm.weight.elements() == width && (!norm.bias.defined() || norm.bias.elements() == width),
      "a norm's weight and bias are as wide as its rows");
  invariant(norm.rstd.elements() == rows && (!centred || norm.mean.elements() == rows),
            "a norm keeps statistics per row");
  const bool packs =
      row_packs_fit(width, {&norm.a, &norm.b, &norm.x, &norm.weight, &norm.bias, &norm.y});
  const auto kernel =
      adds    ? packs ? norm_kernel<centred, true, pack_size> : norm_kernel<centred, true, 1>
         : packs ? norm_kernel<centred, false, pack_size>
              : norm_kernel<centred, false, 1>;
  launch(kernel, row_shape(rows, width, packs), stream,
         Norm{Values(norm.a), Values(norm.b), Values(norm.x), Values(norm.weight),
              Values(norm.bias), Values(norm.y), centred ? norm.mean.data<float>() : nullptr,
              norm.rstd.data<float>(), width, eps});
}

}  // namespace

void CudaOps::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                         const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  run_norm<true>({.x = x, .weight = weight, .bias = bias, .y = y, .mean = mean, .rstd = rstd}, eps,
                 stream_);
}

void CudaOps::rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                       const Tensor& rstd) {
  run_norm<false>({.x = x, .weight = weight, .y = y, .rstd = rstd}, eps, stream_);
}

void CudaOps::add_layer_norm(const Tensor& a, const Tensor& b, const Tensor& weight,
                             const Tensor& bias, float eps, const Tensor& sum, const Tensor& y,
                             const Tensor& mean, const Tensor& rstd) {
  run_norm<true>({a, b, sum, weight, bias, y, mean, rstd}, eps, stream_);
}

void CudaOps::add_rms_norm(const Tensor& a, const Tensor& b, const Tensor& weight, float eps,
                           const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  run_norm<false>({a, b, sum, weight, {}, y, {}, rstd}, eps, stream_);
}

}  // namespace train::cuda
