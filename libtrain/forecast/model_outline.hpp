#pragma once

#include <memory>
#include <vector>

#include "libtrain/forecast/training_shape.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/model_split.hpp"

namespace train {

/// A rank's place among those that share sequences and the model.
struct OutlinePlace {
  int tensor_ranks = 1;
  int tensor_rank = 0;
  int context_ranks = 1;
  int context_rank = 0;
};

/// A model as it lies on one rank, without its values and without other ranks: as large as the
/// names and shapes of its parameters. What is told from it is what the program does, since the
/// same code splits the layers and cuts the buckets.
class ModelOutline {
 public:
  /// Throws Error as parallelize() does, where the ranks are too many.
  ModelOutline(const GptConfig& config, const OutlinePlace& place);

  const GptConfig& config() const { return model_->config(); }
  Gpt& model() const { return *model_; }
  /// What this rank's layers compute of heads, hidden features and vocabulary.
  const HeadRange& heads() const { return split_.heads(place_.tensor_rank); }
  std::int64_t hidden() const { return split_.hidden(place_.tensor_rank).count; }
  std::int64_t tokens() const { return split_.tokens(place_.tensor_rank).count; }
  /// The heads of these with which this rank attends, for all rows; and how many of theirs the
  /// ranks of its context group hold together, a shared key/value head as often as it is held.
  HeadRange attention_heads() const;
  HeadRange exchanged_heads() const;
  /// The largest part of the vocabulary that any rank has.
  std::int64_t tokens_most() const { return split_.tokens(0).count; }
  /// Of so many rows those that this rank's context rank has; and of these, its own between the
  /// layers.
  std::int64_t context_rows(std::int64_t rows) const;
  std::int64_t own_rows(std::int64_t rows, bool splits_rows) const;

  /// Elements of the parameters that this rank holds, and of those, what multiplies rows.
  std::int64_t elements() const;
  std::int64_t multiplied_elements() const;
  /// As the optimizer cuts them. They point into this outline.
  std::vector<Bucket> buckets(const TrainingShape& shape) const;

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Gpt> model_;
  ModelSplit split_;
  OutlinePlace place_;
};

/// One for each kind of rank that shares a model: ranks with equally many heads, hidden features
/// and tokens are alike. One outline, where all of these divide.
std::vector<ModelOutline> outlines_of(const TrainingShape& shape);

}  // namespace train
