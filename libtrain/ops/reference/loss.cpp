#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {
namespace {

constexpr std::int32_t padding = -1;
constexpr std::int32_t elsewhere = -1;  // in another part of the vocabulary

// Targets come from files, so a bad one is the environment's fault.
void check_targets(std::span<const std::int32_t> targets, std::int64_t vocabulary) {
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] >= padding && targets[i] < vocabulary) continue;
    throw Error(fmt::format(
        "target {} at position {} of the batch is neither padding (-1) nor in the model's "
        "vocabulary of {}; was the data made with another tokenizer?",
        targets[i], i, vocabulary));
  }
}

// The caller has found each target's part: a wrong column is its mistake.
void check_parts(const Matrix& logits, std::span<const std::int32_t> targets, const Vector& maximum,
                 const Matrix& sums) {
  const Eigen::Index rows = logits.rows();
  invariant(static_cast<Eigen::Index>(targets.size()) == rows && maximum.size() == rows &&
                sums.rows() == 2 && sums.cols() == rows,
            "cross entropy of a part: targets[M], maximum[M] and sums[2,M] for logits[M,V]");
  for (const std::int32_t target : targets) {
    invariant(target >= elsewhere && target < logits.cols(),
              "cross entropy of a part: a target is one of the part's columns, or -1");
  }
}

}  // namespace

void ReferenceOps::cross_entropy(const Tensor& logits, std::span<const std::int32_t> targets,
                                 float scale, const Tensor& losses, const Tensor& dlogits) {
  const Matrix rows = read(logits);
  invariant(rows.rows() == static_cast<Eigen::Index>(targets.size()),
            "cross_entropy: one target per row of logits");
  check_targets(targets, rows.cols());
  Vector row_losses = Vector::Zero(rows.rows());
  Matrix gradient = Matrix::Zero(rows.rows(), rows.cols());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    const std::int32_t target = targets[m];
    if (target == padding) continue;
    const double highest = rows.row(m).maxCoeff();
    gradient.row(m) = (rows.row(m).array() - highest).exp();
    const double sum = gradient.row(m).sum();
    row_losses(m) = std::log(sum) + highest - rows(m, target);
    gradient.row(m) /= sum;
    gradient(m, target) -= 1.0;
    gradient.row(m) *= static_cast<double>(scale);
  }
  write(row_losses, losses);
  if (dlogits.defined()) write(gradient, dlogits);
}

void ReferenceOps::row_maximum(const Tensor& logits, const Tensor& maximum) {
  const Matrix rows = read(logits);
  Vector highest = Vector::Constant(rows.rows(), -std::numeric_limits<double>::infinity());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    for (const double logit : rows.row(m)) {
      if (logit > highest(m)) highest(m) = logit;
    }
  }
  write(highest, maximum);
}

void ReferenceOps::cross_entropy_parts(const Tensor& logits, std::span<const std::int32_t> targets,
                                       const Tensor& maximum, const Tensor& sums) {
  const Matrix rows = read(logits);
  const Vector highest = read_vector(maximum);
  Matrix result = Matrix::Zero(2, sums.shape().width());
  check_parts(rows, targets, highest, result);
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    result(0, m) = (rows.row(m).array() - highest(m)).exp().sum();
    if (targets[m] != elsewhere) result(1, m) = rows(m, targets[m]) - highest(m);
  }
  write(result, sums);
}

void ReferenceOps::cross_entropy_gradient(const Tensor& logits,
                                          std::span<const std::int32_t> targets,
                                          const Tensor& maximum, const Tensor& sums,
                                          std::span<const float> row_scale, const Tensor& dlogits) {
  const Matrix rows = read(logits);
  const Vector highest = read_vector(maximum);
  const Matrix whole = read(sums);
  check_parts(rows, targets, highest, whole);
  invariant(row_scale.size() == targets.size(), "cross_entropy_gradient: a scale per row");
  Matrix gradient = Matrix::Zero(rows.rows(), rows.cols());
  for (Eigen::Index m = 0; m < rows.rows(); ++m) {
    if (row_scale[m] == 0.0f) continue;
    gradient.row(m) = (rows.row(m).array() - highest(m)).exp() / whole(0, m);
    if (targets[m] != elsewhere) gradient(m, targets[m]) -= 1.0;
    gradient.row(m) *= static_cast<double>(row_scale[m]);
  }
  write(gradient, dlogits);
}

}  // namespace train::reference
