#include <cmath>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {

void ReferenceOps::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                              const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  Matrix rows = read(x);
  const Vector factor = read_vector(weight);
  Vector offset = Vector::Zero(factor.size());
  if (bias.defined()) offset = read_vector(bias);
  invariant(factor.size() == rows.cols() && offset.size() == rows.cols(),
            "layer_norm: weight and bias are as wide as x");
  Vector means(rows.rows());
  Vector rstds(rows.rows());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    auto row = rows.row(m);
    means(m) = row.mean();
    row.array() -= means(m);
    const double variance = row.squaredNorm() / static_cast<double>(row.size());
    rstds(m) = 1.0 / std::sqrt(variance + static_cast<double>(eps));
    row = (row * rstds(m)).cwiseProduct(factor) + offset;
  }
  write(rows, y);
  write(means, mean);
  write(rstds, rstd);
}

void ReferenceOps::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                       const Tensor& mean, const Tensor& rstd, const Gradient& dx,
                                       const Gradient& dweight, const Gradient& dbias) {
  const Matrix gradient = read(dy);
  const Matrix rows = read(x);
  const Vector factor = read_vector(weight);
  const Vector means = read_vector(mean);
  const Vector rstds = read_vector(rstd);
  invariant(gradient.rows() == rows.rows() && gradient.cols() == rows.cols(),
            "layer_norm_backward: dy has x's shape");
  invariant(
      factor.size() == rows.cols() && means.size() == rows.rows() && rstds.size() == rows.rows(),
      "layer_norm_backward: weight is as wide as x, mean and rstd have a value per row");
  Matrix result(rows.rows(), rows.cols());
  Vector weight_gradient = Vector::Zero(rows.cols());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    const Vector normal = (rows.row(m).array() - means(m)) * rstds(m);
    const Vector dnormal = gradient.row(m).cwiseProduct(factor);
    weight_gradient += gradient.row(m).cwiseProduct(normal);
    // What moved the mean or the length of the row is taken out: both are normalised away.
    const double along_normal = dnormal.dot(normal) / static_cast<double>(rows.cols());
    result.row(m) = (dnormal.array() - dnormal.mean() - normal.array() * along_normal) * rstds(m);
  }
  write(result, dx);
  write(weight_gradient, dweight);
  write(gradient.colwise().sum(), dbias);
}

void ReferenceOps::rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                            const Tensor& rstd) {
  Matrix rows = read(x);
  const Vector factor = read_vector(weight);
  invariant(factor.size() == rows.cols(), "rms_norm: weight is as wide as x");
  Vector rstds(rows.rows());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    const double mean_square = rows.row(m).squaredNorm() / static_cast<double>(rows.cols());
    rstds(m) = 1.0 / std::sqrt(mean_square + static_cast<double>(eps));
    rows.row(m) = (rows.row(m) * rstds(m)).cwiseProduct(factor);
  }
  write(rows, y);
  write(rstds, rstd);
}

void ReferenceOps::rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                     const Tensor& rstd, const Gradient& dx,
                                     const Gradient& dweight) {
  const Matrix gradient = read(dy);
  const Matrix rows = read(x);
  const Vector factor = read_vector(weight);
  const Vector rstds = read_vector(rstd);
  invariant(gradient.rows() == rows.rows() && gradient.cols() == rows.cols(),
            "rms_norm_backward: dy has x's shape");
  invariant(factor.size() == rows.cols() && rstds.size() == rows.rows(),
            "rms_norm_backward: weight is as wide as x, rstd has a value per row");
  Matrix result(rows.rows(), rows.cols());
  Vector weight_gradient = Vector::Zero(rows.cols());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    const Vector normal = rows.row(m) * rstds(m);
    const Vector dnormal = gradient.row(m).cwiseProduct(factor);
    weight_gradient += gradient.row(m).cwiseProduct(normal);
    const double along_normal = dnormal.dot(normal) / static_cast<double>(rows.cols());
    result.row(m) = (dnormal - normal * along_normal) * rstds(m);
  }
  write(result, dx);
  write(weight_gradient, dweight);
}

void ReferenceOps::add_layer_norm(const Tensor& a, const Tensor& b, const Tensor& weight,
                                  const Tensor& bias, float eps, const Tensor& sum, const Tensor& y,
                                  const Tensor& mean, const Tensor& rstd) {
  add(a, b, sum);
  layer_norm(sum, weight, bias, eps, y, mean, rstd);
}

void ReferenceOps::add_rms_norm(const Tensor& a, const Tensor& b, const Tensor& weight, float eps,
                                const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  add(a, b, sum);
  rms_norm(sum, weight, eps, y, rstd);
}

}  // namespace train::reference
