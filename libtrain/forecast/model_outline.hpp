#pragma once

#include <memory>
#include <vector>

#include "libtrain/model/gpt.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/model_split.hpp"

namespace train {

/// A model as it lies on one rank of a tensor group, without its values and without other ranks: as
/// large as the names and shapes of its parameters. What is told from it is what the program does,
/// since the same code splits the layers and cuts the buckets.
class ModelOutline {
 public:
  /// Throws Error as parallelize() does, where the ranks are too many.
  ModelOutline(const GptConfig& config, int tensor_ranks, int tensor_rank);

  const GptConfig& config() const { return model_->config(); }
  Gpt& model() const { return *model_; }
  int tensor_ranks() const { return split_.ranks(); }
  int tensor_rank() const { return rank_; }

  /// What this rank computes of heads, hidden features and vocabulary.
  const HeadRange& heads() const { return split_.heads(rank_); }
  std::int64_t hidden() const { return split_.hidden(rank_).count; }
  std::int64_t tokens() const { return split_.tokens(rank_).count; }
  /// The largest part of the vocabulary that any rank has.
  std::int64_t tokens_most() const { return split_.tokens(0).count; }
  /// This rank's of `rows` rows between the layers.
  std::int64_t own_rows(std::int64_t rows, bool splits_rows) const;

  /// Elements of the parameters that this rank holds, and of those, what multiplies rows.
  std::int64_t elements() const;
  std::int64_t multiplied_elements() const;
  /// As the optimizer cuts them. They point into this outline.
  std::vector<Bucket> buckets(const OptimizerOptions& options, int data_ranks) const;

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Gpt> model_;
  ModelSplit split_;
  int rank_;
};

/// One for each kind of rank in a tensor group: ranks with equally many heads, hidden features and
/// tokens are alike. One outline, where all of these divide.
std::vector<ModelOutline> outlines_of(const GptConfig& config, int tensor_ranks);

}  // namespace train
