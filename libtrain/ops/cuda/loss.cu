#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"
#include "libtrain/ops/token_checks.hpp"

namespace train::cuda {
namespace {

constexpr std::int32_t padding = -1;

__device__ __forceinline__ float minus_infinity() {
  return __int_as_float(0xff800000);
}
__device__ __forceinline__ float not_a_number() {
  return __int_as_float(0x7fffffff);
}

// A row's largest logit and its sum of exp(logit - largest), over what was seen so far (Milakov,
// Gimelshein: "Online normalizer calculation for softmax", 2018). NaN is passed over by the largest
// and kept by the sum.
struct Softmax {
  // x: largest, y: sum.
  __device__ __forceinline__ float2 operator()(float2 a, float2 b) const {
    const float largest = fmaxf(a.x, b.x);
    return make_float2(largest, rescaled(a, largest) + rescaled(b, largest));
  }
  __device__ static __forceinline__ float rescaled(float2 part, float largest) {
    return part.x == largest ? part.y : part.y * expf(part.x - largest);
  }
};

// Calls visit(pack, i) for each pack of `row`, from element i on, that this thread has. What the
// row's last pack has beyond the row, a gap, counts as -infinity: it is no maximum, and its
// exponential is 0.
template <int n, typename Visit>
__device__ __forceinline__ void for_packs(const Values& row, std::int64_t width, Visit&& visit) {
  const std::int64_t step = std::int64_t{blockDim.x} * n;
  std::int64_t i = threadIdx.x * n;
  for (; i + n <= width; i += step) visit(row.load<n>(i), i);
  if (i >= width) return;
  Pack<n> last = row.load<n>(i);
#pragma unroll
  for (int j = 0; j < n; ++j) {
    if (i + j >= width) last.at[j] = minus_infinity();
  }
  visit(last, i);
}

// What one thread sees of a row, each pack of which it also gives to keep(pack, i).
template <int n, typename Keep>
__device__ __forceinline__ float2 softmax_part(const Values& logits, std::int64_t width,
                                               Keep&& keep) {
  float2 seen = make_float2(minus_infinity(), 0.0f);
  for_packs<n>(logits, width, [&](const Pack<n>& pack, std::int64_t first) {
    keep(pack, first);
    float largest = seen.x;
#pragma unroll
    for (int j = 0; j < n; ++j) largest = fmaxf(largest, pack.at[j]);
    float sum = Softmax::rescaled(seen, largest);
    // Rows so far of -infinity alone: their exponentials are 0 beside any finite logit to come.
    const float base = largest == minus_infinity() ? 0.0f : largest;
#pragma unroll
    for (int j = 0; j < n; ++j) sum += expf(pack.at[j] - base);
    seen = make_float2(largest, sum);
  });
  return seen;
}

// dlogits = (exp(logits - largest) · factor, less `scale` at the target), and anything in the gap
// behind the row. Each thread reads what it writes before it writes it: dlogits may be logits.
template <int n, typename Row>
__device__ __forceinline__ void write_gradient(const Row& logits, const Values& dlogits,
                                               std::int64_t width, std::int32_t target,
                                               float largest, float factor, float scale) {
  const std::int64_t step = std::int64_t{blockDim.x} * n;
  for (std::int64_t i = threadIdx.x * n; i < width; i += step) {
    Pack<n> pack = logits.template load<n>(i);
#pragma unroll
    for (int j = 0; j < n; ++j) {
      pack.at[j] = expf(pack.at[j] - largest) * factor;
      if (i + j == target) pack.at[j] -= scale;
    }
    dlogits.store<n>(i, pack);
  }
}

template <int n>
__device__ void write_zeros(const Values& to, std::int64_t width) {
  const std::int64_t step = std::int64_t{blockDim.x} * n;
  for (std::int64_t i = threadIdx.x * n; i < width; i += step) to.store<n>(i, Pack<n>{});
}

// A row in the block's shared memory; each thread reads what it wrote.
struct SharedRow {
  float* at;

  template <int n>
  __device__ __forceinline__ Pack<n> load(std::int64_t first) const {
    return cuda::load<n>(at + first);
  }
};

struct CrossEntropy {
  Rows logits, dlogits;
  const std::int32_t* targets;
  float* losses;
  std::int64_t width;
  float scale;
};

// Of a block that has a multiprocessor to itself.
constexpr int kept_threads = 1024;

// With `kept`, a row stays in shared memory between its sum and its gradient, and is read once.
template <int n, bool kept>
__global__ void __launch_bounds__(kept ? kept_threads : row_threads_max)
    cross_entropy_kernel(CrossEntropy op) {
  __shared__ float2 room[warps_max];
  const std::int64_t row = blockIdx.x;
  const Values logits = op.logits[row];
  const std::int32_t target = op.targets[row];
  if (target == padding) {
    if (threadIdx.x == 0) op.losses[row] = 0.0f;
    if (op.dlogits.defined()) write_zeros<n>(op.dlogits[row], op.width);
    return;
  }
  // Before dlogits overwrites it: no thread writes before the barrier below.
  const float chosen = threadIdx.x == 0 ? logits.at(target) : 0.0f;
  const SharedRow copy{reinterpret_cast<float*>(dynamic_shared())};
  const float2 part = softmax_part<n>(logits, op.width, [&](const Pack<n>& pack, auto first) {
    if constexpr (kept) cuda::store<n>(copy.at + first, pack);
  });
  float2 all = combine_block(part, room, Softmax());
  if (all.x == minus_infinity()) all.y = not_a_number();  // no logit above -infinity
  if (threadIdx.x == 0) op.losses[row] = logf(all.y) - (chosen - all.x);
  __syncthreads();
  if (!op.dlogits.defined()) return;
  const float factor = op.scale / all.y;
  const Values dlogits = op.dlogits[row];
  if constexpr (kept) {
    write_gradient<n>(copy, dlogits, op.width, target, all.x, factor, op.scale);
  } else {
    write_gradient<n>(logits, dlogits, op.width, target, all.x, factor, op.scale);
  }
}

struct Parts {
  Rows logits, dlogits;
  const std::int32_t* targets;
  const float* row_scale;
  float* maximum;
  float* sums;
  std::int64_t rows, width;
};

struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <int n>
__global__ void __launch_bounds__(row_threads_max) row_maximum_kernel(Parts op) {
  __shared__ float room[warps_max];
  float largest = minus_infinity();
  for_packs<n>(op.logits[blockIdx.x], op.width, [&](const Pack<n>& pack, std::int64_t) {
#pragma unroll
    for (int j = 0; j < n; ++j) largest = fmaxf(largest, pack.at[j]);
  });
  largest = combine_block(largest, room, Larger());
  if (threadIdx.x == 0) op.maximum[blockIdx.x] = largest;
}

template <int n>
__global__ void __launch_bounds__(row_threads_max) parts_kernel(Parts op) {
  __shared__ float room[warps_max];
  const std::int64_t row = blockIdx.x;
  const Values logits = op.logits[row];
  const float largest = op.maximum[row];
  float sum = 0.0f;
  for_packs<n>(logits, op.width, [&](const Pack<n>& pack, std::int64_t) {
#pragma unroll
    for (int j = 0; j < n; ++j) sum += expf(pack.at[j] - largest);
  });
  sum = combine_block(sum, room, Plus());
  if (threadIdx.x != 0) return;
  const std::int32_t target = op.targets[row];
  op.sums[row] = sum;
  op.sums[op.rows + row] = target < 0 ? 0.0f : logits.at(target) - largest;
}

template <int n>
__global__ void __launch_bounds__(row_threads_max) parts_gradient_kernel(Parts op) {
  const std::int64_t row = blockIdx.x;
  const float scale = op.row_scale[row];
  if (scale == 0.0f) return write_zeros<n>(op.dlogits[row], op.width);
  write_gradient<n>(op.logits[row], op.dlogits[row], op.width, op.targets[row], op.maximum[row],
                    scale / op.sums[row], scale);
}

// What of a row in f32 is in no cache any more when its gradient is due: a multiprocessor's other
// rows have passed through by then.
constexpr std::int64_t kept_width_min = 16384;

std::int64_t kept_bytes(std::int64_t width) {
  return (width + pack_size - 1) / pack_size * pack_size * std::int64_t{sizeof(float)};
}

}  // namespace

void CudaOps::cross_entropy(const Tensor& logits, std::span<const std::int32_t> targets,
                            float scale, const Tensor& losses, const Tensor& dlogits) {
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  invariant(static_cast<std::int64_t>(targets.size()) == rows && losses.elements() == rows,
            "cross_entropy: a target and a loss per row of logits");
  invariant(!dlogits.defined() || dlogits.elements() == logits.elements(),
            "cross_entropy: dlogits has the logits' shape");
  check_targets(targets, width);
  const Scratch<std::int32_t> on_device(memory_, targets);
  const bool packs = padded_packs_fit({&logits, &dlogits});
  const CrossEntropy op{Rows(logits),         Rows(dlogits), on_device.data(),
                        losses.data<float>(), width,         scale};
  LaunchShape shape = row_shape(rows, width, packs);
  constexpr std::int64_t static_bytes = warps_max * sizeof(float2);
  if (packs && dlogits.defined() && width >= kept_width_min &&
      kept_bytes(width) + static_bytes <= shared_bytes_max_) {
    shape.block = dim3(kept_threads);
    shape.shared_bytes = static_cast<std::size_t>(kept_bytes(width));
    return launch(cross_entropy_kernel<pack_size, true>, shape, stream_, op);
  }
  launch(packs ? cross_entropy_kernel<pack_size, false> : cross_entropy_kernel<1, false>, shape,
         stream_, op);
}

void CudaOps::row_maximum(const Tensor& logits, const Tensor& maximum) {
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  invariant(maximum.elements() == rows, "row_maximum: a maximum per row of logits");
  const bool packs = padded_packs_fit({&logits});
  Parts op;
  op.logits = Rows(logits);
  op.maximum = maximum.data<float>();
  op.width = width;
  launch(packs ? row_maximum_kernel<pack_size> : row_maximum_kernel<1>,
         row_shape(rows, width, packs), stream_, op);
}

void CudaOps::cross_entropy_parts(const Tensor& logits, std::span<const std::int32_t> targets,
                                  const Tensor& maximum, const Tensor& sums) {
  check_parts(logits, targets, maximum, sums);
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  const Scratch<std::int32_t> on_device(memory_, targets);
  const bool packs = padded_packs_fit({&logits});
  const Parts op{
      Rows(logits), Rows(), on_device.data(), nullptr, maximum.data<float>(), sums.data<float>(),
      rows,         width};
  launch(packs ? parts_kernel<pack_size> : parts_kernel<1>, row_shape(rows, width, packs), stream_,
         op);
}

void CudaOps::cross_entropy_gradient(const Tensor& logits, std::span<const std::int32_t> targets,
                                     const Tensor& maximum, const Tensor& sums,
                                     std::span<const float> row_scale, const Tensor& dlogits) {
  check_parts(logits, targets, maximum, sums);
  invariant(row_scale.size() == targets.size() && dlogits.elements() == logits.elements(),
            "cross_entropy_gradient: a scale per row, dlogits of the logits' shape");
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  const Scratch<std::int32_t> on_device(memory_, targets);
  const Scratch<float> scales(memory_, row_scale);
  const bool packs = padded_packs_fit({&logits, &dlogits});
  const Parts op{Rows(logits),
                 Rows(dlogits),
                 on_device.data(),
                 scales.data(),
                 maximum.data<float>(),
                 sums.data<float>(),
                 rows,
                 width};
  launch(packs ? parts_gradient_kernel<pack_size> : parts_gradient_kernel<1>,
         row_shape(rows, width, packs), stream_, op);
}

}  // namespace train::cuda
