#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"
#include "libtrain/ops/dropout.hpp"

namespace train::cuda {
namespace {

// Eight elements draw from two Philox blocks, or three where the first element's global index is
// not a multiple of four.
struct Drop {
  Values x, y;
  Dropout dropout;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> pack = x.load<n>(first);
    const std::uint64_t global = dropout.first_index + static_cast<std::uint64_t>(first);
    const float scale = dropout_scale(dropout);
    std::array<std::uint32_t, 4> bits = dropout_bits(dropout, global / 4);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const std::uint64_t index = global + static_cast<std::uint64_t>(i);
      if (i > 0 && index % 4 == 0) bits = dropout_bits(dropout, index / 4);
      // A dropped infinity or NaN is dropped as well.
      pack.at[i] = dropout_keeps(dropout, word(bits, index % 4)) ? pack.at[i] * scale : 0.0f;
    }
    y.store<n>(first, pack);
  }

  // By comparisons, since an array with an index known at run time only would lie in memory.
  __device__ static std::uint32_t word(const std::array<std::uint32_t, 4>& bits, std::uint64_t i) {
    const std::uint32_t low = i == 0 ? bits[0] : bits[1], high = i == 2 ? bits[2] : bits[3];
    return i < 2 ? low : high;
  }
};

}  // namespace

void CudaOps::dropout(const Tensor& x, const Dropout& dropout, const Tensor& y) {
  invariant(x.elements() == y.elements() && x.type() == y.type(), "dropout: y is like x");
  if (!dropout.active()) {
    if (y.raw() != x.raw()) convert(x, y);
    return;
  }
  map(Drop{Values(x), Values(y), dropout}, x.elements(), packs_fit({&x, &y}), multiprocessors_,
      stream_);
}

}  // namespace train::cuda
