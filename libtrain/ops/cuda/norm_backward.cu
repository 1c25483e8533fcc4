#include "libtrain/ops/cuda/columns.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

// Groups of rows that one block goes through, per multiprocessor: as many as run at a time. More
// would add nothing but partial sums.
constexpr std::int64_t groups_per_multiprocessor = 8;
constexpr std::int64_t shared_bytes_max = 48 * 1024;

struct NormBackward {
  Values dy, x, weight;
  const float* mean;
  const float* rstd;
  GradientValues dx;
  float* sums;  // [groups][2][width]: dweight and dbias of each group's rows
  std::int64_t rows, width, rows_per_group;
  bool sums_in_shared;
};

// With n = (x - mean) rstd and g = dy·weight: dx = rstd (g - mean(g) - n mean(g n)), without the
// mean(g) when not centred. One pass over dy and x: each thread keeps its columns' sums of dy·n and
// dy, so that nobody waits for them. Products are rounded before they are subtracted: the two of dx
// cancel when a row's gradient lies along the row, and one fused alone would leave its rounding.
template <bool centred, int n>
__global__ void __launch_bounds__(row_threads_max) norm_backward_kernel(NormBackward norm) {
  __shared__ float2 room[warps_max];
  const std::int64_t width = norm.width;
  const std::int64_t first = threadIdx.x * n, step = std::int64_t{blockDim.x} * n;
  float* const result = norm.sums + blockIdx.x * 2 * width;
  float* const dweight = norm.sums_in_shared ? reinterpret_cast<float*>(dynamic_shared()) : result;
  float* const dbias = dweight + width;
  for (std::int64_t i = first; i < width; i += step) {
    cuda::store<n>(dweight + i, Pack<n>{});
    if constexpr (centred) cuda::store<n>(dbias + i, Pack<n>{});
  }
  const std::int64_t begin = blockIdx.x * norm.rows_per_group;
  const std::int64_t end = min(begin + norm.rows_per_group, norm.rows);
  for (std::int64_t row = begin; row < end; ++row) {
    const float mean = centred ? norm.mean[row] : 0.0f, rstd = norm.rstd[row];
    float2 sums = make_float2(0.0f, 0.0f);  // of g and of g n
    for (std::int64_t i = first; i < width; i += step) {
      const Pack<n> dy = norm.dy.load<n>(row * width + i), x = norm.x.load<n>(row * width + i);
      const Pack<n> weight = norm.weight.load<n>(i);
      Pack<n> weight_sum = cuda::load<n>(dweight + i), bias_sum{};
      if constexpr (centred) bias_sum = cuda::load<n>(dbias + i);
#pragma unroll
      for (int j = 0; j < n; ++j) {
        const float normal = (x.at[j] - mean) * rstd;
        const float grad = __fmul_rn(dy.at[j], weight.at[j]);
        sums.x += grad;
        sums.y += grad * normal;
        weight_sum.at[j] += dy.at[j] * normal;
        bias_sum.at[j] += dy.at[j];
      }
      cuda::store<n>(dweight + i, weight_sum);
      if constexpr (centred) cuda::store<n>(dbias + i, bias_sum);
    }
    if (!norm.dx.defined()) continue;
    sums = combine_block(sums, room, Plus());
    const float shift = centred ? sums.x / static_cast<float>(width) : 0.0f;
    const float slope = sums.y / static_cast<float>(width);
    for (std::int64_t i = first; i < width; i += step) {
      Pack<n> dx = norm.dy.load<n>(row * width + i);
      const Pack<n> x = norm.x.load<n>(row * width + i), weight = norm.weight.load<n>(i);
#pragma unroll
      for (int j = 0; j < n; ++j) {
        const float normal = (x.at[j] - mean) * rstd;
        const float grad = __fmul_rn(dx.at[j], weight.at[j]);
        dx.at[j] = rstd * (grad - shift - __fmul_rn(normal, slope));
      }
      norm.dx.store<n>(row * width + i, dx);
    }
  }
  if (!norm.sums_in_shared) return;
  for (std::int64_t i = first; i < width; i += step) {
    cuda::store<n>(result + i, cuda::load<n>(dweight + i));
    if constexpr (centred) cuda::store<n>(result + width + i, cuda::load<n>(dbias + i));
  }
}

}  // namespace

template <bool centred>
void CudaOps::norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                            const float* mean, const float* rstd, const Gradient& dx,
                            const Gradient& dweight, const Gradient& dbias) {
  const std::int64_t rows = x.shape().rows(), width = x.shape().width();
  invariant(dy.elements() == x.elements() && dy.type() == x.type(), "a norm's dy is like x");
  invariant(weight.elements() == width, "a norm's weight is as wide as x");
  const std::int64_t groups_max =
      std::max<std::int64_t>(1, std::int64_t{multiprocessors_} * groups_per_multiprocessor);
  const std::int64_t rows_per_group =
      std::max<std::int64_t>(1, (rows + groups_max - 1) / groups_max);
  const std::int64_t groups = (rows + rows_per_group - 1) / rows_per_group;
  const Scratch<float> sums(memory_, groups * 2 * width);
  const bool packs = row_packs_fit(width, {&dy, &x, &weight, &dx.tensor});
  const std::int64_t shared_bytes = 2 * width * static_cast<std::int64_t>(sizeof(float));
  const bool in_shared = shared_bytes <= shared_bytes_max;
  LaunchShape shape = row_shape(groups, width, packs);
  if (in_shared) shape.shared_bytes = static_cast<std::size_t>(shared_bytes);
  const NormBackward norm{Values(dy), Values(x),          Values(weight), mean,
                          rstd,       GradientValues(dx), sums.data(),    rows,
                          width,      rows_per_group,     in_shared};
  launch(packs ? norm_backward_kernel<centred, pack_size> : norm_backward_kernel<centred, 1>, shape,
         stream_, norm);
  sum_groups(sums.data(), groups, 2 * width, width, dweight, dbias, stream_);
}

void CudaOps::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                  const Tensor& mean, const Tensor& rstd, const Gradient& dx,
                                  const Gradient& dweight, const Gradient& dbias) {
  norm_backward<true>(dy, x, weight, mean.data<float>(), rstd.data<float>(), dx, dweight, dbias);
}

void CudaOps::rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                const Tensor& rstd, const Gradient& dx, const Gradient& dweight) {
  norm_backward<false>(dy, x, weight, nullptr, rstd.data<float>(), dx, dweight, {});
}

}  // namespace train::cuda
