#pragma once

#include <cstdint>
#include <span>

#include "libtrain/data/choice_questions.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

/// Of questions, the share whose right ending is the one that the model expects most: with the
/// least mean loss per token of the ending, after the context. What llm.c counts, and others call
/// acc_norm of HellaSwag. Contexts that are too long for the model lose their beginning.
class ChoiceAccuracy {
 public:
  /// Throws Error without questions, and naming the first that is not complete, has a token outside
  /// the vocabulary, or an ending longer than the model's context.
  ChoiceAccuracy(std::vector<ChoiceQuestion> questions, const GptConfig& config);

  std::size_t questions() const { return questions_.size(); }
  /// In passes of at most `micro_batch` endings, shared out over the data ranks. Collective; the
  /// same on every rank.
  double measure(Gpt& model, const Grid& grid, std::int64_t micro_batch) const;

 private:
  // One ending behind its context.
  struct Row {
    std::size_t question = 0, ending = 0;
    std::int64_t length = 0;  // inputs
  };
  std::vector<double> losses(Gpt& model, std::span<const Row> rows) const;

  std::vector<ChoiceQuestion> questions_;
  std::int64_t context_;
  std::vector<Row> rows_;  // the longest first, so that those of a pass are of about one length
};

}  // namespace train
