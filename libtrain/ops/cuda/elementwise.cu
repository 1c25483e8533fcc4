#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"

namespace train::cuda {
namespace {

struct Add {
  Values a, b, y;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> sum = a.load<n>(first);
    const Pack<n> other = b.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) sum.at[i] += other.at[i];
    y.store<n>(first, sum);
  }
};

struct Scale {
  Values x;
  float factor;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> pack = x.load<n>(first);
#pragma unroll
    for (int i = 0; i < n; ++i) pack.at[i] *= factor;
    x.store<n>(first, pack);
  }
};

struct Fill {
  Values x;
  float value;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    Pack<n> pack;
#pragma unroll
    for (int i = 0; i < n; ++i) pack.at[i] = value;
    x.store<n>(first, pack);
  }
};

struct Convert {
  Values source, target;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    target.store<n>(first, source.load<n>(first));
  }
};

struct CopyColumns {
  Values from;
  GradientValues to;
  std::int64_t from_width, to_width, count;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t row = first / count, column = first % count;
    to.store<n>(row * to_width + column, from.load<n>(row * from_width + column));
  }
};

}  // namespace

void CudaOps::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  invariant(a.elements() == b.elements() && a.elements() == y.elements(),
            "add: three tensors of one size");
  map(Add{Values(a), Values(b), Values(y)}, y.elements(), packs_fit({&a, &b, &y}), multiprocessors_,
      stream_);
}

void CudaOps::scale(const Tensor& x, float factor) {
  map(Scale{Values(x), factor}, x.elements(), packs_fit({&x}), multiprocessors_, stream_);
}

void CudaOps::fill(const Tensor& x, float value) {
  map(Fill{Values(x), value}, x.elements(), packs_fit({&x}), multiprocessors_, stream_);
}

void CudaOps::convert(const Tensor& source, const Tensor& target) {
  invariant(source.elements() == target.elements(), "convert: two tensors of one size");
  map(Convert{Values(source), Values(target)}, source.elements(), packs_fit({&source, &target}),
      multiprocessors_, stream_);
}

void CudaOps::copy_columns(const Tensor& from, std::int64_t from_column, std::int64_t count,
                           const Gradient& to, std::int64_t to_column) {
  const std::int64_t rows = from.shape().rows();
  const std::int64_t from_width = from.shape().width(), to_width = to.tensor.shape().width();
  invariant(from.type() == to.tensor.type() && to.tensor.shape().rows() == rows &&
                from_column + count <= from_width && to_column + count <= to_width,
            "copy_columns: columns of two matrices with the same rows and type");
  const bool packs = (from_width | to_width | from_column | to_column | count) % pack_size == 0 &&
                     packs_fit({&from, &to.tensor});
  map(CopyColumns{Values(from).from(from_column), GradientValues(to).from(to_column), from_width,
                  to_width, count},
      rows * count, packs, multiprocessors_, stream_);
}

}  // namespace train::cuda
