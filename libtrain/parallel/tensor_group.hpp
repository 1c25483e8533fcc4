#pragma once

#include <functional>
#include <vector>

#include "collectives/communicator.hpp"
#include "libtrain/autograd/tape.hpp"
#include "libtrain/parallel/model_split.hpp"
#include "libtrain/parallel/wait_timer.hpp"

namespace train {

/// What the ranks of a tensor group do with rows [M, C] of the residual stream: each holds some of
/// the rows (sequence parallelism) or all of them. Bytes sent per rank for S = M C elements: sum()
/// S (n-1)/n with split rows and 2 S (n-1)/n with whole ones, gather() S (n-1)/n or nothing.
class TensorGroup {
 public:
  TensorGroup(Communicator& ranks, bool split_rows) : ranks_(ranks), split_rows_(split_rows) {}

  Communicator& ranks() const { return ranks_; }
  bool is_first() const { return ranks_.rank() == 0; }
  bool split_rows() const { return split_rows_; }
  /// This rank's rows of `rows`.
  ModelSplit::Range own_rows(std::int64_t rows) const;

  /// Something on its way to a tensor: wait() returns it when it is there.
  struct Pending {
    Tensor tensor;
    Work work;
  };
  Tensor wait(Pending& pending) const;

  /// This rank's rows to all rows, on every rank.
  Pending gather(const Tape& tape, const Tensor& own, std::int64_t rows) const;
  /// Sums all ranks' `all`, which is overwritten, and keeps this rank's rows of it.
  Pending sum(const Tape& tape, const Tensor& all) const;
  /// Of what is the same on all ranks, this rank's rows.
  Tensor keep_own(const Tape& tape, const Tensor& all) const;

  void reduce(const Tensor& tensor, ReduceOp op) const;

  /// Exchanges that computation did not hide.
  WaitTimer& waits() const { return waits_; }

 private:
  Communicator& ranks_;
  bool split_rows_;
  mutable WaitTimer waits_;
};

}  // namespace train
