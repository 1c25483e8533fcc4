#include <fmt/format.h>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {
namespace {

constexpr std::int32_t elsewhere = -1;  // in another part of the vocabulary

// Tokens come from files, so a bad one is the environment's fault.
void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocabulary) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= elsewhere && tokens[i] < vocabulary) continue;
    throw Error(fmt::format(
        "token {} at position {} of the batch is outside the model's vocabulary of {}; was the "
        "data made with another tokenizer?",
        tokens[i], i, vocabulary));
  }
}

}  // namespace

void ReferenceOps::embedding(std::span<const std::int32_t> tokens, const Tensor& table,
                             const Tensor& positions, const RowPositions& places, const Tensor& y) {
  const Matrix rows = read(table);
  check_tokens(tokens, rows.rows());
  Matrix result = Matrix::Zero(static_cast<Eigen::Index>(tokens.size()), rows.cols());
  for (Eigen::Index i = 0; i < result.rows(); ++i) {
    if (tokens[i] != elsewhere) result.row(i) = rows.row(tokens[i]);
  }
  if (positions.defined()) {
    const Matrix offsets = read(positions);
    invariant(offsets.cols() == rows.cols(), "embedding: positions are as wide as the table");
    for (Eigen::Index i = 0; i < result.rows(); ++i) {
      const std::int64_t position = places.position_of(i);
      invariant(position < offsets.rows(), "embedding: the position table holds every position");
      result.row(i) += offsets.row(position);
    }
  }
  write(result, y);
}

void ReferenceOps::embedding_backward(std::span<const std::int32_t> tokens, const Tensor& dy,
                                      const RowPositions& places, const Gradient& dtable,
                                      const Gradient& dpositions) {
  const Matrix gradient = read(dy);
  invariant(gradient.rows() == static_cast<Eigen::Index>(tokens.size()),
            "embedding_backward: dy has one row per token");
  if (dtable.tensor.defined()) {
    Matrix result = Matrix::Zero(dtable.tensor.shape().rows(), gradient.cols());
    check_tokens(tokens, result.rows());
    for (Eigen::Index i = 0; i < gradient.rows(); ++i) {
      if (tokens[i] != elsewhere) result.row(tokens[i]) += gradient.row(i);
    }
    write(result, dtable);
  }
  if (dpositions.tensor.defined()) {
    Matrix result = Matrix::Zero(dpositions.tensor.shape().rows(), gradient.cols());
    for (Eigen::Index i = 0; i < gradient.rows(); ++i) {
      const std::int64_t position = places.position_of(i);
      invariant(position < result.rows(),
                "embedding_backward: the position table holds every position");
      result.row(position) += gradient.row(i);
    }
    write(result, dpositions);
  }
}

}  // namespace train::reference
