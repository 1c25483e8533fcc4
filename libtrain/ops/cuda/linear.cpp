#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/linear_finish.hpp"
#include "libtrain/ops/cuda/matrix.hpp"
#include "libtrain/ops/cuda/scratch.hpp"

namespace train::cuda {
namespace {

Factor factor(const Tensor& tensor, bool transposed = false) {
  return {tensor.rows_raw(), tensor.type(), transposed, tensor.row_stride()};
}

// `tensor` as f32: itself, or a converted copy, whose rows lie as far apart.
Tensor as_f32(Ops& ops, Memory& memory, const Tensor& tensor) {
  if (tensor.type() == DataType::f32) return tensor;
  const Tensor all = tensor.with_gaps();
  const Tensor copy(memory, all.shape(), DataType::f32);
  ops.convert(all, copy);
  return tensor.has_gaps() ? copy.first_columns(tensor.shape().width()) : copy;
}

// Whether cuBLASLt writes this type of result from these factors.
bool types_fit(const Tensor& a, const Tensor& b, DataType result) {
  return a.type() == b.type() && (a.type() == DataType::bf16 || result == DataType::f32);
}

// Products as ops need them: where cuBLASLt has no kernel for what was asked, by way of f32.
class Products {
 public:
  Products(Matrix& matrix, Ops& ops, CudaMemory& memory, int multiprocessors)
      : matrix_(matrix), ops_(ops), memory_(memory), multiprocessors_(multiprocessors) {}

  // The product in f32, which always exists: factors of two types, or at addresses that no kernel
  // for bf16 takes, are converted first.
  void in_f32(Product product, const Tensor& a, const Tensor& b) {
    product.c_type = DataType::f32;
    if (types_fit(a, b, DataType::f32) && matrix_.multiply(product)) return;
    const Tensor a_f32 = as_f32(ops_, memory_, a), b_f32 = as_f32(ops_, memory_, b);
    product.a = factor(a_f32, product.a.transposed);
    product.b = factor(b_f32, product.b.transposed);
    if (matrix_.multiply(product)) return;
    throw Error(
        "cuBLASLt has no kernel for a product of f32 on this GPU: it needs one of compute "
        "capability 8.0 or later, or --device cpu");
  }

  void into(const Gradient& target, Product product, const Tensor& a, const Tensor& b) {
    const bool add = target.write == Write::add;
    const DataType type = target.tensor.type();
    if (product.k == 0) {
      if (!add) ops_.fill(target.tensor, 0.0f);
      return;
    }
    product.add = add;
    product.c = target.tensor.raw();
    product.c_type = type;
    if (type == DataType::f32) return in_f32(product, a, b);
    if (types_fit(a, b, type) && matrix_.multiply(product)) return;
    const Scratch<float> beside(memory_, product.m * product.n);
    product.add = false;
    product.c = beside.data();
    in_f32(product, a, b);
    write_gradient(beside.data(), target, multiprocessors_, memory_.stream());
  }

 private:
  Matrix& matrix_;
  Ops& ops_;
  CudaMemory& memory_;
  int multiprocessors_;
};

// What of linear goes into the product's own kernel: false where not all of it can.
bool fuse(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
          const Tensor& pre, const Tensor& y, Product& product) {
  // cuBLASLt's gelu may use the processor's own tanh, whose 11 bits are enough for bf16 alone.
  const bool gelu = activation == Activation::gelu_tanh && y.type() == DataType::bf16;
  if (activation != Activation::none && !gelu) return false;
  if (activation == Activation::none && pre.defined()) return false;
  if (!types_fit(x, w, y.type())) return false;
  for (const Tensor* beside : {&bias, &pre}) {
    if (beside->defined() && beside->type() != y.type()) return false;
  }
  product.gelu = gelu;
  if (bias.defined()) product.bias = bias.raw();
  if (pre.defined()) product.pre = pre.raw();
  return true;
}

}  // namespace

void CudaOps::linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
                     const Tensor& pre, const Tensor& y) {
  const std::int64_t m = x.shape().rows(), k = x.shape().width(), n = w.shape()[0];
  invariant(w.shape().width() == k && y.shape().rows() == m && y.shape().width() == n,
            "linear: y[M,N] = x[M,K] w[N,K]");
  invariant(!bias.defined() || bias.elements() == n, "linear: a bias has N elements");
  invariant(!pre.defined() || pre.elements() == y.elements(), "linear: pre has y's shape");
  if (m == 0 || n == 0) return;
  if (k == 0) {
    linear_finish(nullptr, n, bias, activation, pre, y, multiprocessors_, stream_);
    return;
  }
  const Product plain{.m = m,
                      .n = n,
                      .k = k,
                      .a = factor(x),
                      .b = factor(w, true),
                      .c = y.rows_raw(),
                      .c_type = y.type(),
                      .c_stride = y.row_stride()};
  Product fused = plain;
  if (fuse(x, w, bias, activation, pre, y, fused) && matrix_->multiply(fused)) return;
  const bool in_place = y.type() == DataType::f32;
  const Scratch<float> beside(memory_, in_place ? 0 : m * n);
  Product product = plain;
  if (!in_place) {
    product.c = beside.data();
    product.c_stride = n;
  }
  Products(*matrix_, *this, memory_, multiprocessors_).in_f32(product, x, w);
  if (in_place && activation == Activation::none && !bias.defined() && !pre.defined()) return;
  linear_finish(static_cast<const float*>(product.c), product.c_stride, bias, activation, pre, y,
                multiprocessors_, stream_);
}

void CudaOps::linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) {
  if (!dx.tensor.defined()) return;
  const std::int64_t m = dy.shape().rows(), n = dy.shape().width(), k = w.shape().width();
  invariant(w.shape()[0] == n && dx.tensor.shape().rows() == m && dx.tensor.shape().width() == k,
            "linear_grad_input: dx[M,K] = dy[M,N] w[N,K]");
  if (m == 0 || k == 0) return;
  Products(*matrix_, *this, memory_, multiprocessors_)
      .into(dx, {.m = m, .n = k, .k = n, .a = factor(dy), .b = factor(w)}, dy, w);
}

void CudaOps::linear_grad_activation(const Tensor& dy, const Tensor& w, Activation activation,
                                     const Tensor& pre, const Tensor& dpre) {
  const std::int64_t m = dy.shape().rows(), n = dy.shape().width(), k = w.shape().width();
  invariant(w.shape()[0] == n && dpre.elements() == m * k && pre.elements() == m * k,
            "linear_grad_activation: dpre[M,K] = (dy[M,N] w[N,K]) act'(pre[M,K])");
  const bool fits = activation == Activation::gelu_tanh && dpre.type() == DataType::bf16 &&
                    pre.type() == DataType::bf16 && types_fit(dy, w, DataType::bf16);
  if (fits && dpre.elements() > 0 && n > 0) {
    const Product product{.m = m,
                          .n = k,
                          .k = n,
                          .a = factor(dy),
                          .b = factor(w),
                          .c = dpre.raw(),
                          .c_type = DataType::bf16,
                          .gelu_argument = pre.raw()};
    if (matrix_->multiply(product)) return;
  }
  Ops::linear_grad_activation(dy, w, activation, pre, dpre);
}

void CudaOps::linear_grad_weight(const Tensor& dy, const Tensor& x, const Gradient& dw,
                                 const Gradient& dbias) {
  const std::int64_t m = dy.shape().rows(), n = dy.shape().width(), k = x.shape().width();
  invariant(x.shape().rows() == m, "linear_grad_weight: dy and x have as many rows");
  // Not by cuBLASLt's epilogue: it sums in an order and a type that it does not tell, and cannot
  // add.
  if (dbias.tensor.defined()) column_sums(dy, dbias);
  if (!dw.tensor.defined()) return;
  invariant(dw.tensor.shape().rows() == n && dw.tensor.shape().width() == k,
            "linear_grad_weight: dw[N,K] = dy[M,N]^T x[M,K]");
  if (n == 0 || k == 0) return;
  Products(*matrix_, *this, memory_, multiprocessors_)
      .into(dw, {.m = n, .n = k, .k = m, .a = factor(dy, true), .b = factor(x)}, dy, x);
}

}  // namespace train::cuda
