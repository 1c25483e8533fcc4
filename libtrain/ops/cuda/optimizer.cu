#include <vector>

#include "libtrain/ops/adamw_factors.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"
#include "libtrain/ops/cuda/parts.cuh"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

// `full` is the parameter in full precision; a bf16 `parameter` beside it receives the rounded one.
struct AdamWTensors {
  Values parameter, full, gradient, m, v;
  float decay;  // 1 - lr · weight_decay
  bool has_master, packs;
  std::int64_t count, first_block;

  AdamWTensors(const AdamWPart& part, float lr)
      : parameter(part.parameter),
        full(part.master.defined() ? part.master : part.parameter),
        gradient(part.gradient),
        m(part.m),
        v(part.v),
        decay(adamw_decay(lr, part.weight_decay)),
        has_master(part.master.defined()),
        packs(packs_fit({&part.parameter, &part.master, &part.gradient, &part.m, &part.v})),
        count(part.parameter.elements()),
        first_block(0) {}
};

struct AdamWUpdate {
  const AdamWTensors& at;
  const AdamWFactors& by;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const Pack<n> grads = at.gradient.load<n>(first);
    Pack<n> means = at.m.load<n>(first), variances = at.v.load<n>(first);
    Pack<n> values = at.full.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float grad = grads.at[i] * by.gradient_scale;
      means.at[i] = by.beta1 * means.at[i] + by.one_minus_beta1 * grad;
      variances.at[i] = by.beta2 * variances.at[i] + by.one_minus_beta2 * grad * grad;
      const float root = sqrtf(variances.at[i]) * by.root_variance + by.eps;
      values.at[i] = values.at[i] * at.decay - by.step_size * means.at[i] / root;
    }
    at.m.store<n>(first, means);
    at.v.store<n>(first, variances);
    at.full.store<n>(first, values);
    if (at.has_master) at.parameter.store<n>(first, values);
  }
};

__global__ void __launch_bounds__(map_threads)
    adamw_kernel(const AdamWTensors* parts, int count, AdamWFactors factors) {
  const AdamWTensors part = part_of_block(parts, count);
  const AdamWUpdate update{part, factors};
  visit_part(part, update);
}

struct SquaresPart {
  Values x;
  bool packs;
  std::int64_t count, first_block;
};

struct Squares {
  Values x;
  double sum;

  template <int n>
  __device__ void apply(std::int64_t first) {
    const Pack<n> pack = x.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) sum += static_cast<double>(pack.at[i]) * pack.at[i];
  }
};

// One sum per block.
__global__ void __launch_bounds__(map_threads)
    squares_kernel(const SquaresPart* parts, int count, double* sums) {
  __shared__ double room[warps_max];
  const SquaresPart part = part_of_block(parts, count);
  Squares squares{part.x, 0.0};
  visit_part(part, squares);
  const double sum = combine_block(squares.sum, room, Plus());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(map_threads)
    total_kernel(const double* sums, std::int64_t count, double* total) {
  __shared__ double room[warps_max];
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += map_threads) sum += sums[i];
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

void CudaOps::adamw(std::span<const AdamWPart> parts, const AdamWStep& step) {
  invariant(step.step >= 1, "adamw: the first step is 1");
  std::vector<AdamWTensors> table;
  table.reserve(parts.size());
  for (const AdamWPart& part : parts) {
    const std::int64_t count = part.parameter.elements();
    invariant(part.gradient.elements() == count && part.m.elements() == count &&
                  part.v.elements() == count &&
                  (!part.master.defined() || part.master.elements() == count),
              "adamw: a gradient, m and v per parameter");
    invariant(part.master.defined() == (part.parameter.type() != DataType::f32),
              "adamw: a master copy beside a bf16 parameter, none beside f32");
    if (count > 0) table.emplace_back(part, step.lr);
  }
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(number_blocks(table)));
  shape.block = dim3(map_threads);
  const Scratch<AdamWTensors> on_device(memory_, std::span<const AdamWTensors>(table));
  launch(adamw_kernel, shape, stream_, on_device.data(), static_cast<int>(table.size()),
         AdamWFactors(step));
}

double CudaOps::sum_of_squares(std::span<const Tensor> parts) {
  std::vector<SquaresPart> table;
  table.reserve(parts.size());
  for (const Tensor& part : parts) {
    if (part.elements() > 0)
      table.push_back({Values(part), packs_fit({&part}), part.elements(), 0});
  }
  const std::int64_t blocks = number_blocks(table);
  if (blocks == 0) return 0.0;
  const Scratch<SquaresPart> on_device(memory_, std::span<const SquaresPart>(table));
  const Scratch<double> sums(memory_, blocks + 1);
  double* const total = sums.data() + blocks;
  LaunchShape shape;
  shape.block = dim3(map_threads);
  shape.grid = dim3(static_cast<unsigned>(blocks));
  launch(squares_kernel, shape, stream_, on_device.data(), static_cast<int>(table.size()),
         sums.data());
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
