#include "libtrain/ops/cuda/columns.cuh"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

constexpr int lanes = 32;          // neighbours in a row
constexpr int row_lanes = 8;       // rows side by side
constexpr int rows_per_lane = 32;  // enough loads under way to hide how long one takes

// Block (x, y) sums rows [y, y + 1) · row_lanes · rows_per_lane of the columns of tile x. Rows of
// dy lie `stride` apart; what its last pack has beyond a row is summed, and left out.
template <int n>
__global__ void __launch_bounds__(lanes* row_lanes)
    column_sums_kernel(Values dy, std::int64_t stride, std::int64_t rows, std::int64_t width,
                       float* sums) {
  __shared__ float parts[row_lanes][lanes * pack_size];
  const std::int64_t column = (std::int64_t{blockIdx.x} * lanes + threadIdx.x) * n;
  const std::int64_t group_rows = row_lanes * rows_per_lane;
  const std::int64_t begin = blockIdx.y * group_rows;
  const std::int64_t end = min(begin + group_rows, rows);
  Pack<n> sum{};
  if (column < width) {
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
    const std::int64_t at = std::int64_t{blockIdx.x} * lanes * n + i;
    if (at >= width) break;
    float total = parts[0][i];
#pragma unroll
    for (int row = 1; row < row_lanes; ++row) total += parts[row][i];
    sums[blockIdx.y * width + at] = total;
  }
}

}  // namespace

void CudaOps::column_sums(const Tensor& dy, const Gradient& dbias) {
  if (!dbias.tensor.defined()) return;
  const std::int64_t rows = dy.shape().rows(), width = dy.shape().width();
  invariant(dbias.tensor.elements() == width, "column sums: one per column");
  constexpr std::int64_t group_rows = row_lanes * rows_per_lane;
  const std::int64_t groups = (rows + group_rows - 1) / group_rows;
  const Scratch<float> sums(memory_, groups * width);
  const bool packs = padded_packs_fit({&dy});
  const std::int64_t tile = lanes * (packs ? pack_size : 1);
  LaunchShape shape;
  shape.grid =
      dim3(static_cast<unsigned>((width + tile - 1) / tile), static_cast<unsigned>(groups));
  shape.block = dim3(lanes, row_lanes);
  launch(packs ? column_sums_kernel<pack_size> : column_sums_kernel<1>, shape, stream_,
         Values::of_rows(dy), dy.row_stride(), rows, width, sums.data());
  sum_groups(sums.data(), groups, width, dbias, multiprocessors_, stream_);
}

}  // namespace train::cuda
