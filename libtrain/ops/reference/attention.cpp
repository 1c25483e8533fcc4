#include <cmath>

#include "libtrain/ops/dropout.hpp"
#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {
namespace {

using Index = Eigen::Index;

// Where heads lie in a row of qkv.
struct Columns {
  explicit Columns(const AttentionShape& shape) : shape_(shape) {
    invariant(shape.heads_match(),
              "attention: every key/value head serves equally many query heads");
  }
  Index kv_head(Index head) const { return head / (shape_.heads / shape_.kv_heads); }
  Index query(Index head) const { return head * shape_.head_width; }
  Index key(Index head) const { return (shape_.heads + kv_head(head)) * shape_.head_width; }
  Index value(Index head) const {
    return (shape_.heads + shape_.kv_heads + kv_head(head)) * shape_.head_width;
  }

 private:
  const AttentionShape& shape_;
};

struct Softmax {
  Vector probabilities;
  double log_sum = 0.0;  // of the exponentials
};

Softmax softmax(const Vector& scores) {
  const double highest = scores.maxCoeff();
  const Vector exponentials = (scores.array() - highest).exp();
  const double sum = exponentials.sum();
  return {exponentials / sum, highest + std::log(sum)};
}

// The causal attention of one query position of one head: row `query` of a sequence whose first
// row in qkv is `first`, over keys 0 … query.
struct Position {
  const Matrix& qkv;
  const AttentionShape& shape;
  Columns columns;
  Index first;
  Index head;
  Index query;

  Index count() const { return query + 1; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(shape.head_width)); }

  auto block(Index row, Index rows, Index column) const {
    return qkv.block(first + row, column, rows, shape.head_width);
  }
  auto query_row() const { return block(query, 1, columns.query(head)); }
  auto keys() const { return block(0, count(), columns.key(head)); }
  auto values() const { return block(0, count(), columns.value(head)); }

  Softmax attend() const {
    Vector scores(count());
    for (Index j = 0; j < count(); ++j) scores(j) = scale() * keys().row(j).dot(query_row().row(0));
    return softmax(scores);
  }

  // What dropout multiplies each probability by.
  Vector kept(Index batch, DropoutMask& mask) const {
    const Index row = shape.dropout_index(batch, head) + query * shape.context;
    Vector factors(count());
    for (Index j = 0; j < count(); ++j) factors(j) = mask.factor(row + j);
    return factors;
  }
};

void check(const Matrix& qkv, const AttentionShape& shape) {
  invariant(qkv.rows() == shape.batch * shape.context && qkv.cols() == shape.qkv_width(),
            "attention: qkv is [batch·context, qkv_width]");
}

// Calls visit(batch, position) for every query of every head.
template <typename Visitor>
void for_each_position(const Matrix& qkv, const AttentionShape& shape, Visitor&& visit) {
  const Columns columns(shape);
  for (Index batch = 0; batch < shape.batch; ++batch) {
    for (Index head = 0; head < shape.heads; ++head) {
      for (Index query = 0; query < shape.context; ++query) {
        visit(batch, Position{qkv, shape, columns, batch * shape.context, head, query});
      }
    }
  }
}

}  // namespace

void ReferenceOps::rotary(const Tensor& qkv, const AttentionShape& shape,
                          std::int64_t first_position, const RotaryFrequencies& frequencies,
                          bool inverse) {
  Matrix rows = read(qkv);
  check(rows, shape);
  const Index half = shape.head_width / 2;
  invariant(shape.head_width == 2 * half, "rotary: heads have an even width");
  for (Index row = 0; row < rows.rows(); ++row) {
    const auto position = static_cast<double>(first_position + row % shape.context);
    for (Index head = 0; head < shape.heads + shape.kv_heads; ++head) {
      for (Index i = 0; i < half; ++i) {
        const double angle = position * frequencies.at(i, shape.head_width);
        const double cosine = std::cos(angle);
        const double sine = inverse ? -std::sin(angle) : std::sin(angle);
        double& a = rows(row, head * shape.head_width + i);
        double& b = rows(row, head * shape.head_width + i + half);
        const double turned = a * cosine - b * sine;
        b = b * cosine + a * sine;
        a = turned;
      }
    }
  }
  write(rows, qkv);
}

void ReferenceOps::attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                             const Tensor& out, const Tensor& lse) {
  const Matrix rows = read(qkv);
  check(rows, shape);
  Matrix result(rows.rows(), shape.out_width());
  Vector log_sums(shape.batch * shape.heads * shape.context);
  DropoutMask mask(dropout);
  for_each_position(rows, shape, [&](Index batch, const Position& at) {
    const Softmax attended = at.attend();
    const Vector weights = attended.probabilities.cwiseProduct(at.kept(batch, mask));
    Vector sum = Vector::Zero(shape.head_width);
    for (Index j = 0; j < at.count(); ++j) sum += weights(j) * at.values().row(j);
    result.block(at.first + at.query, at.head * shape.head_width, 1, shape.head_width) = sum;
    log_sums((batch * shape.heads + at.head) * shape.context + at.query) = attended.log_sum;
  });
  write(result, out);
  write(log_sums, lse);
}

// Needs neither out nor lse: computing the softmax again in double is the more exact way.
void ReferenceOps::attention_backward(const Tensor& qkv, const AttentionShape& shape,
                                      const Dropout& dropout, const Tensor& /*out*/,
                                      const Tensor& /*lse*/, const Tensor& dout,
                                      const Tensor& dqkv) {
  const Matrix rows = read(qkv);
  check(rows, shape);
  const Matrix gradient = read(dout);
  invariant(gradient.rows() == rows.rows() && gradient.cols() == shape.out_width(),
            "attention_backward: dout is [batch·context, out_width]");
  Matrix result = Matrix::Zero(rows.rows(), rows.cols());
  DropoutMask mask(dropout);
  for_each_position(rows, shape, [&](Index batch, const Position& at) {
    const Vector probabilities = at.attend().probabilities;
    const Vector kept = at.kept(batch, mask);
    const Vector dy =
        gradient.block(at.first + at.query, at.head * shape.head_width, 1, shape.head_width);
    Vector dprobabilities(at.count());
    for (Index j = 0; j < at.count(); ++j) {
      dprobabilities(j) = kept(j) * dy.dot(at.values().row(j));
    }
    const double mean = probabilities.dot(dprobabilities);
    auto row = [&](Index j, Index column) {
      return result.block(at.first + j, column, 1, shape.head_width);
    };
    for (Index j = 0; j < at.count(); ++j) {
      const double dscore = probabilities(j) * (dprobabilities(j) - mean) * at.scale();
      row(at.query, at.columns.query(at.head)) += dscore * at.keys().row(j);
      row(j, at.columns.key(at.head)) += dscore * at.query_row();
      row(j, at.columns.value(at.head)) += probabilities(j) * kept(j) * dy;
    }
  });
  write(result, dqkv);
}

void ReferenceOps::attention_extend(const Tensor& qkv, const AttentionShape& shape,
                                    std::int64_t position, const Tensor& keys, const Tensor& values,
                                    const Tensor& out) {
  const Matrix rows = read(qkv);
  const Columns columns(shape);
  const Index width = shape.head_width;
  const Index kv_width = shape.kv_heads * width;
  const Index capacity = keys.shape()[1];
  invariant(rows.rows() == shape.batch * shape.context && rows.cols() == shape.qkv_width(),
            "attention_extend: qkv is [batch x context, qkv_width]");
  invariant(position >= 0 && position + shape.context <= capacity,
            "attention_extend: the new positions lie within the capacity");
  Matrix key_rows = read(keys.reshaped({shape.batch * capacity, kv_width}));
  Matrix value_rows = read(values.reshaped({shape.batch * capacity, kv_width}));
  Matrix result(rows.rows(), shape.out_width());
  for (Index row = 0; row < rows.rows(); ++row) {
    const Index first = row / shape.context * capacity;
    const Index last = position + row % shape.context;
    key_rows.row(first + last) = rows.block(row, shape.heads * width, 1, kv_width);
    value_rows.row(first + last) =
        rows.block(row, (shape.heads + shape.kv_heads) * width, 1, kv_width);
    for (Index head = 0; head < shape.heads; ++head) {
      const Vector query = rows.block(row, columns.query(head), 1, width);
      const Index column = columns.kv_head(head) * width;
      const Matrix past_keys = key_rows.block(first, column, last + 1, width);
      const Matrix past_values = value_rows.block(first, column, last + 1, width);
      Vector scores(last + 1);
      for (Index j = 0; j <= last; ++j) {
        scores(j) = query.dot(past_keys.row(j)) / std::sqrt(static_cast<double>(width));
      }
      const Vector weights = softmax(scores).probabilities;
      Vector sum = Vector::Zero(width);
      for (Index j = 0; j <= last; ++j) sum += weights(j) * past_values.row(j);
      result.block(row, columns.query(head), 1, width) = sum;
    }
  }
  write(key_rows, keys);
  write(value_rows, values);
  write(result, out);
}

}  // namespace train::reference
