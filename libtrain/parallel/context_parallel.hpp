#pragma once

#include <memory>

#include "libtrain/model/gpt.hpp"
#include "libtrain/parallel/context_group.hpp"

namespace train {

/// Runs a model's layers on this rank's part of the rows of a batch, and attention on whole
/// sequences for some of the heads (Jacobs et al.: "DeepSpeed Ulysses", 2023). Within a rank,
/// layers run as `inner` has them: alone, or over a tensor group, whose heads are then shared out
/// further.
///
/// For M rows of all ranks, a query and k key/value heads of width d and elements of e bytes, each
/// of n ranks sends (2 a + 2 k) M d e (n-1)/n² bytes per layer and direction. Where key/value heads
/// are fewer than ranks, those that several ranks need count as often. Losses and gradients are
/// those of the rank's rows: the data group, of which these ranks are part, sums them.
class ContextParallel final : public Execution {
 public:
  /// `ranks` must outlive it.
  ContextParallel(const GptConfig& config, std::shared_ptr<const Execution> inner,
                  Communicator& ranks);

  Value embedding(Tape& tape, const Layer& layer, std::span<const std::int32_t> tokens,
                  const RowPositions& places) const override;
  Value linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
               Activation activation) const override;
  Value to_sequences(Tape& tape, Value qkv, const AttentionShape& shape) const override;
  Value from_sequences(Tape& tape, Value out, const AttentionShape& shape) const override;
  RowLosses loss(Tape& tape, const Layer& layer, const Value& x,
                 std::span<const std::int32_t> targets, float scale) const override;
  std::vector<double> all_losses(std::vector<double> own, std::int64_t rows) const override;
  Tensor logits(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows) const override;

  HeadRange heads(const HeadRange& all) const override;
  std::int64_t first_row(std::int64_t rows) const override;
  bool splits_rows() const override { return true; }
  int context_ranks() const override { return group_.ranks().size(); }
  std::shared_ptr<const Execution> with_whole_rows() const override;
  double seconds_waited() const override;
  void observe_waits(WaitObserver observer) const override;

 private:
  std::shared_ptr<const Execution> inner_;
  ContextGroup group_;
  HeadRange all_heads_;           // the inner execution's
  std::vector<HeadRange> parts_;  // of these, by rank
  // Each rank's in a row of queries, keys and values, and in one of attention's output.
  std::vector<ContextGroup::Columns> qkv_columns_;
  std::vector<ContextGroup::Columns> out_columns_;
  std::int64_t qkv_width_;
  std::int64_t out_width_;
};

}  // namespace train
