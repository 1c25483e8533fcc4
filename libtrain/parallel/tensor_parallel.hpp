#pragma once

#include <memory>

#include "libtrain/model/gpt.hpp"
#include "libtrain/parallel/model_split.hpp"
#include "libtrain/parallel/tensor_group.hpp"

namespace train {

/// Runs a model's layers on the ranks of a tensor group (Shoeybi et al.: "Megatron-LM", 2019).
///
/// A reader's output stays split by features until its writer's partial products are summed, so a
/// pair of layers costs two exchanges forward and two backward: for M rows of width C and elements
/// of e bytes, each sends 2 M C e (n-1)/n bytes per rank as an all-reduce, or M C e (n-1)/n where
/// rows are split and sums become reduce-scatters with an all-gather on the other side. With split
/// rows the reader's input is gathered once more in the backward pass instead of being kept.
class TensorParallel final : public Execution {
 public:
  /// Makes the gradients of what ranks share whole: norms see some rows only, copied key/value
  /// heads some query heads only. Collective. `ranks` must outlive it.
  TensorParallel(Gpt& model, const ModelSplit& split, Communicator& ranks, bool split_rows);

  Value embedding(Tape& tape, const Layer& layer, std::span<const std::int32_t> tokens,
                  const RowPositions& places) const override;
  Value linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
               Activation activation) const override;
  RowLosses loss(Tape& tape, const Layer& layer, const Value& x,
                 std::span<const std::int32_t> targets, float scale) const override;
  Tensor logits(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows) const override;

  HeadRange heads(const HeadRange& all) const override;
  std::int64_t first_row(std::int64_t rows) const override { return group_.own_rows(rows).begin; }
  bool splits_rows() const override { return group_.split_rows(); }
  std::shared_ptr<const Execution> with_whole_rows() const override;
  double seconds_waited() const override { return group_.waits().seconds(); }
  void observe_waits(WaitObserver observer) const override {
    group_.waits().observe(std::move(observer));
  }

 private:
  struct WholeRows {};
  TensorParallel(const TensorParallel& from, WholeRows);

  Value reader(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
               Activation activation) const;
  Value writer(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows) const;
  void reader_backward(Tape& tape, const Layer& layer, const Tensor& x, const Tensor& dy,
                       std::int64_t rows, Tensor& dx) const;
  std::vector<std::int32_t> own_tokens(const Layer& layer,
                                       std::span<const std::int32_t> tokens) const;
  void sum_norm_gradients(const Layer& layer) const;
  void sum_shared_heads(const Layer& layer) const;

  ModelSplit split_;
  TensorGroup group_;
  bool heads_are_split_;
  std::int64_t head_width_;
  std::unique_ptr<Communicator> shared_heads_;  // the ranks that hold the same key/value head
};

}  // namespace train
