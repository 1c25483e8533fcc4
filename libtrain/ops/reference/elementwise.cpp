#include "libtrain/ops/dropout.hpp"
#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {

void ReferenceOps::dropout(const Tensor& x, const Dropout& dropout, const Tensor& y) {
  Vector values = read_vector(x);
  DropoutMask mask(dropout);
  for (Eigen::Index i = 0; i < values.size(); ++i) {
    // Not a product with 0: a dropped NaN or infinity is dropped.
    const auto index = static_cast<std::uint64_t>(i);
    values(i) = mask.keeps(index) ? values(i) * mask.factor(index) : 0.0;
  }
  write(values, y);
}

void ReferenceOps::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  invariant(a.elements() == b.elements(), "add: a and b have the same size");
  write(read_vector(a) + read_vector(b), y);
}

void ReferenceOps::scale(const Tensor& x, float factor) {
  write(read_vector(x) * static_cast<double>(factor), x);
}

void ReferenceOps::fill(const Tensor& x, float value) {
  write(Vector::Constant(x.elements(), static_cast<double>(value)), x);
}

void ReferenceOps::convert(const Tensor& source, const Tensor& target) {
  write(read_vector(source), target);
}

void ReferenceOps::copy_columns(const Tensor& from, std::int64_t from_column, std::int64_t count,
                                const Gradient& to, std::int64_t to_column) {
  const Matrix source = read(from);
  Matrix result = read(to.tensor);
  invariant(from.type() == to.tensor.type() && source.rows() == result.rows() &&
                from_column + count <= source.cols() && to_column + count <= result.cols(),
            "copy_columns: columns of two matrices with the same rows and type");
  const auto moved = source.middleCols(from_column, count);
  if (to.write == Write::add) {
    result.middleCols(to_column, count) += moved;
  } else {
    result.middleCols(to_column, count) = moved;
  }
  write(result, to.tensor);
}

}  // namespace train::reference
