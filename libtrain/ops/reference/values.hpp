#pragma once

#include <Eigen/Core>

#include "collectives/error.hpp"
#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/tensor.hpp"

// How the reference sees tensors: every op reads its inputs whole as doubles, computes, and rounds
// once on writing. That makes one source serve all types, and makes any aliasing of inputs and
// outputs safe. Costs a copy of 8 bytes per element of each operand.
namespace train::reference {

/// Row-major: a tensor's rows() × width().
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
/// One row: a bias, a weight of a norm, per-row statistics.
using Vector = Eigen::RowVectorXd;

/// Calls visitor(T{}) for the C++ type T (float, BFloat16 or double) of a tensor that holds reals.
template <typename Visitor>
void visit_real(DataType type, Visitor&& visitor) {
  switch (type) {
    case DataType::f32:
      return visitor(float{});
    case DataType::bf16:
      return visitor(BFloat16{});
    case DataType::f64:
      return visitor(double{});
    case DataType::i32:
    case DataType::i64:
    case DataType::u8:
      break;
  }
  unreachable("ops compute with f32, bf16 and f64");
}

Matrix read(const Tensor& tensor);
/// All elements in one row.
Vector read_vector(const Tensor& tensor);

/// Rounds to nearest even; values and tensor have equally many elements.
void write(const Matrix& values, const Tensor& tensor);
/// Assigns or adds (with one rounding of the sum); nothing when the tensor is undefined.
void write(const Matrix& values, const Gradient& gradient);

}  // namespace train::reference
