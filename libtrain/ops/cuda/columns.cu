#include "libtrain/ops/cuda/columns.hpp"
#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

constexpr int lanes = 32;          // neighbours in a row
constexpr int row_lanes = 8;       // rows side by side
constexpr int rows_per_lane = 16;  // few: more blocks have more loads under way

// A block sums a group of row_lanes · rows_per_lane rows of the columns of a tile; tiles of a group
// are neighbours, and all blocks lie along x, the one extent that counts beyond 65535. Rows of dy
// lie `stride` apart; what its last pack has beyond a row is summed, and left out.
template <int n>
__global__ void __launch_bounds__(lanes* row_lanes)
    column_sums_kernel(Values dy, std::int64_t stride, std::int64_t rows, std::int64_t width,
                       unsigned tiles, float* sums) {
  __shared__ float parts[row_lanes][lanes * pack_size];
  const std::int64_t group = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const std::int64_t column = (tile * lanes + threadIdx.x) * n;
  const std::int64_t group_rows = row_lanes * rows_per_lane;
  const std::int64_t begin = group * group_rows;
  const std::int64_t end = min(begin + group_rows, rows);
  Pack<n> sum{};
  if (column < width) {
#pragma unroll 8
    for (std::int64_t row = begin + threadIdx.y; row < end; row += row_lanes) {
      const Pack<n> pack = dy.load<n>(row * stride + column);
#pragma unroll
      for (int i = 0; i < n; ++i) sum.at[i] += pack.at[i];
    }
  }
#pragma unroll
  for (int i = 0; i < n; ++i) parts[threadIdx.y][threadIdx.x * n + i] = sum.at[i];
  __syncthreads();
  // One thread per column.
  for (int i = static_cast<int>(threadIdx.y * lanes + threadIdx.x); i < lanes * n;
       i += lanes * row_lanes) {
    const std::int64_t at = tile * lanes * n + i;
    if (at >= width) break;
    float total = parts[0][i];
#pragma unroll
    for (int row = 1; row < row_lanes; ++row) total += parts[row][i];
    sums[group * width + at] = total;
  }
}

// Partial sums that one thread adds up are `sum_lanes` rows apart, so that their loads are under
// way together; then the lanes of a column meet.
constexpr int sum_lanes = 32;

struct GroupSums {
  const float* sums;
  std::int64_t groups, stride, width;
  GradientValues first, second;
};

// Block (x, y): 32 columns, from 32 x on, of the first or second target.
__global__ void __launch_bounds__(lanes* sum_lanes)
    sum_groups_kernel(const __grid_constant__ GroupSums op) {
  __shared__ float parts[sum_lanes][lanes];
  const GradientValues& target = blockIdx.y == 0 ? op.first : op.second;
  if (!target.defined()) return;
  const std::int64_t column = std::int64_t{blockIdx.x} * lanes + threadIdx.x;
  float sum = 0.0f;
  if (column < op.width) {
    const float* const top = op.sums + blockIdx.y * op.width + column;
#pragma unroll 8
    for (std::int64_t group = threadIdx.y; group < op.groups; group += sum_lanes) {
      sum += top[group * op.stride];
    }
  }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= op.width) return;
#pragma unroll
  for (int lane = 1; lane < sum_lanes; ++lane) sum += parts[lane][threadIdx.x];
  target.store<1>(column, {{sum}});
}

}  // namespace

void sum_groups(const float* sums, std::int64_t groups, std::int64_t stride, std::int64_t width,
                const Gradient& first, const Gradient& second, const Stream& stream) {
  LaunchShape shape;
  shape.grid =
      dim3(static_cast<unsigned>((width + lanes - 1) / lanes), second.tensor.defined() ? 2 : 1);
  shape.block = dim3(lanes, sum_lanes);
  launch(sum_groups_kernel, shape, stream,
         GroupSums{sums, groups, stride, width, GradientValues(first), GradientValues(second)});
}

void CudaOps::column_sums(const Tensor& dy, const Gradient& dbias) {
  if (!dbias.tensor.defined()) return;
  const std::int64_t rows = dy.shape().rows(), width = dy.shape().width();
  invariant(dbias.tensor.elements() == width, "column sums: one per column");
  constexpr std::int64_t group_rows = row_lanes * rows_per_lane;
  const std::int64_t groups = (rows + group_rows - 1) / group_rows;
  const Scratch<float> sums(memory_, groups * width);
  const bool packs = padded_packs_fit({&dy});
  const std::int64_t tile = lanes * (packs ? pack_size : 1), tiles = (width + tile - 1) / tile;
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(groups * tiles));
  shape.block = dim3(lanes, row_lanes);
  launch(packs ? column_sums_kernel<pack_size> : column_sums_kernel<1>, shape, stream_,
         Values::of_rows(dy), dy.row_stride(), rows, width, static_cast<unsigned>(tiles),
         sums.data());
  sum_groups(sums.data(), groups, width, width, dbias, {}, stream_);
}

}  // namespace train::cuda
