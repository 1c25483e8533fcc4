#pragma once

#include <span>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/autograd/tape.hpp"
#include "libtrain/parallel/model_split.hpp"
#include "libtrain/parallel/wait_timer.hpp"

namespace train {

/// What the ranks of a context group do with matrices of M rows, of which each holds an even part:
/// they trade rows for columns, and back. Bytes sent per rank for a whole matrix of S bytes:
/// S (n-1)/n².
class ContextGroup {
 public:
  /// A rank's columns, in the order in which it has them; others may have some of them, too.
  using Columns = std::vector<ModelSplit::Range>;

  explicit ContextGroup(Communicator& ranks) : ranks_(ranks) {}

  Communicator& ranks() const { return ranks_; }
  /// This rank's rows of `rows`.
  ModelSplit::Range own_rows(std::int64_t rows) const;

  /// From this rank's rows, with every column, to its columns of all rows. Both ways let go of
  /// their argument before they take memory for the result.
  Tensor to_columns(const Tape& tape, Tensor own, std::int64_t rows,
                    std::span<const Columns> columns) const;
  /// From this rank's columns of all rows to every column of its rows, `width` of them. Columns
  /// that several ranks have are summed, in their order.
  Tensor to_rows(const Tape& tape, Tensor all, std::int64_t width,
                 std::span<const Columns> columns) const;
  /// All rows, on every rank.
  Tensor gather(const Tape& tape, const Tensor& own, std::int64_t rows) const;
  std::vector<double> gather(const std::vector<double>& own, std::int64_t rows) const;

  WaitTimer& waits() const { return waits_; }

 private:
  Communicator& ranks_;
  mutable WaitTimer waits_;
};

}  // namespace train
