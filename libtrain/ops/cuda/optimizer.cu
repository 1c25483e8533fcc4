#include <cmath>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

// One step of AdamW per element, bias corrections folded in. `full` is the parameter in full
// precision; a bf16 `parameter` beside it receives the rounded one.
struct AdamW {
  Values parameter, full, gradient, m, v;
  bool has_master;
  float gradient_scale, beta1, one_minus_beta1, beta2, one_minus_beta2;
  float decay;          // 1 - lr · weight_decay
  float step_size;      // lr / (1 - beta1^t)
  float root_variance;  // 1 / sqrt(1 - beta2^t)
  float eps;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const Pack<n> grads = gradient.load<n>(first);
    Pack<n> means = m.load<n>(first), variances = v.load<n>(first), values = full.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float grad = grads.at[i] * gradient_scale;
      means.at[i] = beta1 * means.at[i] + one_minus_beta1 * grad;
      variances.at[i] = beta2 * variances.at[i] + one_minus_beta2 * grad * grad;
      const float root = sqrtf(variances.at[i]) * root_variance + eps;
      values.at[i] = values.at[i] * decay - step_size * means.at[i] / root;
    }
    m.store<n>(first, means);
    v.store<n>(first, variances);
    full.store<n>(first, values);
    if (has_master) parameter.store<n>(first, values);
  }
};

// Elements that one block sums up, whatever the GPU: the order of the sum is the count's alone.
constexpr std::int64_t sum_block = 16384;
constexpr int sum_threads = 256;

template <int n>
__global__ void __launch_bounds__(sum_threads)
    squares_kernel(Values x, std::int64_t count, double* sums) {
  __shared__ double room[warps_max];
  const std::int64_t begin = blockIdx.x * sum_block, end = min(begin + sum_block, count);
  double sum = 0.0;
  std::int64_t i = begin + threadIdx.x * n;
  for (; i + n <= end; i += sum_threads * n) {
    const Pack<n> pack = x.load<n>(i);
#pragma unroll
    for (int j = 0; j < n; ++j) sum += static_cast<double>(pack.at[j]) * pack.at[j];
  }
  if constexpr (n > 1) {
    for (; i < end; ++i) sum += static_cast<double>(x.at(i)) * x.at(i);
  }
  sum = combine_block(sum, room, Plus());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(sum_threads)
    total_kernel(const double* sums, std::int64_t count, double* total) {
  __shared__ double room[warps_max];
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += sum_threads) sum += sums[i];
  sum = combine_block(sum, room, Plus());
  if (threadIdx.x == 0) *total = sum;
}

// Any thread that finds NaN or infinity says so; all would write the same.
struct FindInfinite {
  Values x;
  int* found;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const Pack<n> pack = x.load<n>(first);
    bool finite = true;
#pragma unroll
    for (int i = 0; i < n; ++i) finite = finite && fabsf(pack.at[i]) < __int_as_float(0x7f800000);
    if (!finite) *found = 1;
  }
};

}  // namespace

void CudaOps::adamw(const Tensor& parameter, const Tensor& master, const Tensor& gradient,
                    const Tensor& m, const Tensor& v, const AdamWStep& step) {
  const std::int64_t count = parameter.elements();
  invariant(gradient.elements() == count && m.elements() == count && v.elements() == count &&
                (!master.defined() || master.elements() == count),
            "adamw: a gradient, m and v per parameter");
  invariant(master.defined() == (parameter.type() != DataType::f32),
            "adamw: a master copy beside a bf16 parameter, none beside f32");
  invariant(step.step >= 1, "adamw: the first step is 1");
  const auto t = static_cast<double>(step.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), t);
  const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), t);
  AdamW op;
  op.parameter = Values(parameter);
  op.full = Values(master.defined() ? master : parameter);
  op.gradient = Values(gradient);
  op.m = Values(m);
  op.v = Values(v);
  op.has_master = master.defined();
  op.gradient_scale = step.gradient_scale;
  op.beta1 = step.beta1;
  op.one_minus_beta1 = 1.0f - step.beta1;
  op.beta2 = step.beta2;
  op.one_minus_beta2 = 1.0f - step.beta2;
  op.decay = static_cast<float>(1.0 - static_cast<double>(step.lr) * step.weight_decay);
  op.step_size = static_cast<float>(step.lr / correction1);
  op.root_variance = static_cast<float>(1.0 / std::sqrt(correction2));
  op.eps = step.eps;
  map(op, count, packs_fit({&parameter, &master, &gradient, &m, &v}), multiprocessors_, stream_);
}

double CudaOps::sum_of_squares(std::span<const Tensor> parts) {
  const auto blocks_of = [](const Tensor& part) {
    return (part.elements() + sum_block - 1) / sum_block;
  };
  std::int64_t blocks = 0;
  for (const Tensor& part : parts) blocks += blocks_of(part);
  if (blocks == 0) return 0.0;
  const Scratch<double> sums(memory_, blocks + 1);
  double* const total = sums.data() + blocks;
  LaunchShape shape;
  shape.block = dim3(sum_threads);
  double* next = sums.data();
  for (const Tensor& part : parts) {
    shape.grid = dim3(static_cast<unsigned>(blocks_of(part)));
    launch(packs_fit({&part}) ? squares_kernel<pack_size> : squares_kernel<1>, shape, stream_,
           Values(part), part.elements(), next);
    next += blocks_of(part);
  }
  shape.grid = dim3(1);
  launch(total_kernel, shape, stream_, sums.data(), blocks, total);
  double result = 0.0;
  memory_.copy_to_host(&result, total, sizeof result);
  return result;
}

bool CudaOps::all_finite(const Tensor& x) {
  const int none = 0;
  const Scratch<int> found(memory_, std::span(&none, 1));
  map(FindInfinite{Values(x), found.data()}, x.elements(), packs_fit({&x}), multiprocessors_,
      stream_);
  int result = 0;
  memory_.copy_to_host(&result, found.data(), sizeof result);
  return result == 0;
}

}  // namespace train::cuda
