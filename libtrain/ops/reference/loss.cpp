#include <cmath>

#include <fmt/format.h>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {
namespace {

constexpr std::int32_t padding = -1;

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

}  // namespace train::reference
