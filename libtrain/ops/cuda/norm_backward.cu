#include "libtrain/ops/cuda/columns.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

// Groups of rows that one block goes through, per multiprocessor: as many as run at a time, or
// twice that where blocks are widest. More would add nothing but partial sums.
constexpr std::int64_t groups_per_multiprocessor = 8;
constexpr std::int64_t shared_bytes_max = 48 * 1024;

struct NormBackward {
  Values dy, x, weight;
  const float* mean;
  const float* rstd;
  GradientValues dx;
  float* sums;  // [groups][2][width]: dweight and dbias of each group's rows
  std::int64_t rows, width, rows_per_group;
};

// Where a thread keeps its columns' sums: in registers where it has no more than one pack of a row,
// in shared memory, or, of the widest rows, in the result.
enum class Sums : std::uint8_t { in_registers, in_shared, in_result };

// Some columns of one row.
template <int n>
struct Columns {
  Pack<n> dy, x, weight;
  float mean, rstd;

  // From column i on.
  __device__ __forceinline__ void load(const NormBackward& norm, std::int64_t row, std::int64_t i) {
    dy = norm.dy.load<n>(row * norm.width + i);
    x = norm.x.load<n>(row * norm.width + i);
  }

  __device__ __forceinline__ float normal(int j) const { return (x.at[j] - mean) * rstd; }
  __device__ __forceinline__ float grad(int j) const { return __fmul_rn(dy.at[j], weight.at[j]); }

  // Adds to the row's sums of g and g n, and to the columns' sums of dy n and dy.
  __device__ __forceinline__ void add(float2& row_sums, Pack<n>& dweight, Pack<n>& dbias) const {
#pragma unroll
    for (int j = 0; j < n; ++j) {
      row_sums.x += grad(j);
      row_sums.y += grad(j) * normal(j);
      dweight.at[j] += dy.at[j] * normal(j);
      dbias.at[j] += dy.at[j];
    }
  }
  __device__ __forceinline__ Pack<n> dx(float shift, float slope) const {
    Pack<n> dx;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      dx.at[j] = rstd * (grad(j) - shift - __fmul_rn(normal(j), slope));
    }
    return dx;
  }
};

// A row's shift and slope, from what each thread has of its sums.
template <bool centred>
__device__ __forceinline__ float2 row_means(float2 sums, float2* room, std::int64_t width) {
  sums = combine_block(sums, room, Plus());
  const auto count = static_cast<float>(width);
  return make_float2(centred ? sums.x / count : 0.0f, sums.y / count);
}

// Of rows whose every pack has a thread of its own: what a thread has read stays with it.
template <bool centred, int n>
__device__ __forceinline__ void narrow_rows(const NormBackward& norm, std::int64_t begin,
                                            std::int64_t end, float* result) {
  __shared__ float2 room[warps_max];
  const std::int64_t i = threadIdx.x * n;
  const bool there = i < norm.width;
  Columns<n> own{};
  Pack<n> dweight{}, dbias{};
  if (there) own.weight = norm.weight.load<n>(i);
  for (std::int64_t row = begin; row < end; ++row) {
    own.mean = centred ? norm.mean[row] : 0.0f;
    own.rstd = norm.rstd[row];
    float2 sums = make_float2(0.0f, 0.0f);
    if (there) {
      own.load(norm, row, i);
      own.add(sums, dweight, dbias);
    }
    if (!norm.dx.defined()) continue;
    const float2 means = row_means<centred>(sums, room, norm.width);
    if (there) norm.dx.store<n>(row * norm.width + i, own.dx(means.x, means.y));
  }
  if (!there) return;
  cuda::store<n>(result + i, dweight);
  if constexpr (centred) cuda::store<n>(result + norm.width + i, dbias);
}

// Of wider ones: dy and x are read a second time, from the caches, and sums lie in `kept`.
template <bool centred, int n>
__device__ __forceinline__ void wide_rows(const NormBackward& norm, std::int64_t begin,
                                          std::int64_t end, float* kept) {
  __shared__ float2 room[warps_max];
  const std::int64_t width = norm.width;
  const std::int64_t first = threadIdx.x * n, step = std::int64_t{blockDim.x} * n;
  float* const dweight = kept;
  float* const dbias = kept + width;
  for (std::int64_t i = first; i < width; i += step) {
    cuda::store<n>(dweight + i, Pack<n>{});
    if constexpr (centred) cuda::store<n>(dbias + i, Pack<n>{});
  }
  for (std::int64_t row = begin; row < end; ++row) {
    Columns<n> some{};
    some.mean = centred ? norm.mean[row] : 0.0f;
    some.rstd = norm.rstd[row];
    float2 sums = make_float2(0.0f, 0.0f);
    for (std::int64_t i = first; i < width; i += step) {
      some.load(norm, row, i);
      some.weight = norm.weight.load<n>(i);
      Pack<n> weight_sum = cuda::load<n>(dweight + i), bias_sum{};
      if constexpr (centred) bias_sum = cuda::load<n>(dbias + i);
      some.add(sums, weight_sum, bias_sum);
      cuda::store<n>(dweight + i, weight_sum);
      if constexpr (centred) cuda::store<n>(dbias + i, bias_sum);
    }
    if (!norm.dx.defined()) continue;
    const float2 means = row_means<centred>(sums, room, width);
    for (std::int64_t i = first; i < width; i += step) {
      some.load(norm, row, i);
      some.weight = norm.weight.load<n>(i);
      norm.dx.store<n>(row * width + i, some.dx(means.x, means.y));
    }
  }
}

// With n = (x - mean) rstd and g = dy·weight: dx = rstd (g - mean(g) - n mean(g n)), without the
// mean(g) when not centred. One pass over dy and x: each thread keeps its columns' sums of dy·n and
// dy, so that nobody waits for them. Products are rounded before they are subtracted: the two of dx
// cancel when a row's gradient lies along the row, and one fused alone would leave its rounding.
template <bool centred, Sums where, int n>
__global__ void __launch_bounds__(row_threads_max) norm_backward_kernel(NormBackward norm) {
  const std::int64_t begin = blockIdx.x * norm.rows_per_group;
  const std::int64_t end = min(begin + norm.rows_per_group, norm.rows);
  float* const result = norm.sums + blockIdx.x * 2 * norm.width;
  if constexpr (where == Sums::in_registers) {
    narrow_rows<centred, n>(norm, begin, end, result);
  } else if constexpr (where == Sums::in_result) {
    wide_rows<centred, n>(norm, begin, end, result);
  } else {
    auto* const kept = reinterpret_cast<float*>(dynamic_shared());
    wide_rows<centred, n>(norm, begin, end, kept);
    // Each thread's own.
    for (std::int64_t i = threadIdx.x * n; i < norm.width; i += std::int64_t{blockDim.x} * n) {
      cuda::store<n>(result + i, cuda::load<n>(kept + i));
      if constexpr (centred) {
        cuda::store<n>(result + norm.width + i, cuda::load<n>(kept + norm.width + i));
      }
    }
  }
}

using Kernel = void (*)(NormBackward);

template <bool centred, int n>
Kernel kernel_of(Sums where) {
  switch (where) {
    case Sums::in_registers:
      return norm_backward_kernel<centred, Sums::in_registers, n>;
    case Sums::in_shared:
      return norm_backward_kernel<centred, Sums::in_shared, n>;
    case Sums::in_result:
      return norm_backward_kernel<centred, Sums::in_result, n>;
  }
  unreachable("sums are kept in one of three places");
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
  const std::int64_t shared_bytes =
      (centred ? 2 : 1) * width * static_cast<std::int64_t>(sizeof(float));
  const Sums where = width <= row_threads_max * (packs ? pack_size : 1) ? Sums::in_registers
                     : shared_bytes <= shared_bytes_max                 ? Sums::in_shared
                                                                        : Sums::in_result;
  LaunchShape shape = row_shape(groups, width, packs);
  if (where == Sums::in_shared) shape.shared_bytes = static_cast<std::size_t>(shared_bytes);
  const NormBackward norm{Values(dy),         Values(x),   Values(weight), mean,  rstd,
                          GradientValues(dx), sums.data(), rows,           width, rows_per_group};
  launch(packs ? kernel_of<centred, pack_size>(where) : kernel_of<centred, 1>(where), shape,
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
