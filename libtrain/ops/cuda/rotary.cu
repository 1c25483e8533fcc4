#include <algorithm>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {
namespace {

// Element i of a row's heads' lower halves, counted over all query and key heads. A pack lies in
// one head when half a head is a multiple of packs.
struct Rotate {
  Values qkv;
  const float* angles;  // rows of [cos × half | sin × half]
  std::int64_t half, heads, width, context, first_position;
  float direction;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t i = first % half, head = first / half % heads, row = first / half / heads;
    const float* angle = angles + (first_position + row % context) * 2 * half + i;
    const std::int64_t low_at = row * width + head * 2 * half + i;
    Pack<n> low = qkv.load<n>(low_at), high = qkv.load<n>(low_at + half);
    const Pack<n> cosine = cuda::load<n>(angle), sine = cuda::load<n>(angle + half);
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const float x = low.at[j], y = high.at[j], s = direction * sine.at[j];
      low.at[j] = x * cosine.at[j] - y * s;
      high.at[j] = y * cosine.at[j] + x * s;
    }
    qkv.store<n>(low_at, low);
    qkv.store<n>(low_at + half, high);
  }
};

}  // namespace

const float* CudaOps::rotary_angles(std::int64_t positions, std::int64_t head_width,
                                    const RotaryFrequencies& frequencies) {
  Tensor& table = device_tables_[{head_width, frequencies}];
  if (!table.defined() || table.shape()[0] < positions) {
    // Generation asks for one position more each time: grow by doubling.
    const std::int64_t rows =
        table.defined() ? std::max(positions, 2 * table.shape()[0]) : positions;
    const float* host = rotary_table_.get(rows, head_width, frequencies);
    table = Tensor(memory_, {rows, head_width}, DataType::f32);
    memory_.copy_from_host(table.raw(), host, table.bytes());
  }
  return table.data<float>();
}

void CudaOps::rotary(const Tensor& qkv, const AttentionShape& shape, std::int64_t first_position,
                     const RotaryFrequencies& frequencies, bool inverse) {
  const std::int64_t rows = shape.batch * shape.context, width = shape.qkv_width();
  invariant(qkv.elements() == rows * width, "rotary: qkv has a row per position");
  invariant(shape.head_width > 0 && shape.head_width % 2 == 0, "rotary: heads of even width");
  invariant(first_position >= 0, "rotary: positions start at 0");
  const std::int64_t half = shape.head_width / 2, heads = shape.heads + shape.kv_heads;
  if (rows * heads == 0) return;
  const float* angles =
      rotary_angles(first_position + shape.context, shape.head_width, frequencies);
  const Rotate op{Values(qkv), angles,        half,           heads,
                  width,       shape.context, first_position, inverse ? -1.0f : 1.0f};
  map(op, rows * heads * half, half % pack_size == 0 && packs_fit({&qkv}), multiprocessors_,
      stream_);
}

}  // namespace train::cuda
