#include "libtrain/choice_accuracy.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "libtrain/shared_passes.hpp"

namespace train {
namespace {

// Lengths of passes are multiples of this: kernels are chosen, and some compiled, by shape.
constexpr std::int64_t length_step = 64;

void check(const ChoiceQuestion& question, std::size_t number, const GptConfig& config) {
  const auto outside = [&](std::int32_t token) { return token < 0 || token >= config.vocabulary; };
  std::size_t longest = 0;
  bool known = std::ranges::none_of(question.context, outside);
  for (const auto& ending : question.endings) {
    known = known && std::ranges::none_of(ending, outside);
    longest = std::max(longest, ending.size());
  }
  const bool complete =
      !question.context.empty() && question.answer < question.endings.size() &&
      std::ranges::none_of(question.endings, [](const auto& ending) { return ending.empty(); });
  if (!complete) {
    throw Error(
        fmt::format("question {} has no context, an ending without tokens, or no ending {}, which "
                    "is to be the right one",
                    number, question.answer));
  }
  if (!known) {
    throw Error(
        fmt::format("question {} has tokens outside the model's vocabulary of {}: the "
                    "questions are of another tokenizer",
                    number, config.vocabulary));
  }
  if (static_cast<std::int64_t>(longest) > config.context) {
    throw Error(fmt::format("an ending of question {} has {} tokens, the model's context {}",
                            number, longest, config.context));
  }
}

}  // namespace

ChoiceAccuracy::ChoiceAccuracy(std::vector<ChoiceQuestion> questions, const GptConfig& config)
    : questions_(std::move(questions)), context_(config.context) {
  if (questions_.empty()) throw Error("accuracy is measured on at least one question");
  for (std::size_t i = 0; i < questions_.size(); ++i) {
    check(questions_[i], i, config);
    for (std::size_t ending = 0; ending < questions_[i].endings.size(); ++ending) {
      // The last token is only a target.
      const auto length = static_cast<std::int64_t>(questions_[i].context.size() +
                                                    questions_[i].endings[ending].size() - 1);
      rows_.push_back({i, ending, std::min(length, context_)});
    }
  }
  std::ranges::stable_sort(rows_, std::ranges::greater{}, &Row::length);
}

double ChoiceAccuracy::measure(Gpt& model, const Grid& grid, std::int64_t micro_batch) const {
  std::vector<double> all(rows_.size(), 0.0);
  const auto rows = static_cast<std::int64_t>(rows_.size());
  for (const auto& [begin, count, counts] : shared_passes(grid, rows, micro_batch)) {
    const auto pass =
        std::span(rows_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    const std::vector<double> means = losses(model, pass);
    if (counts && grid.context().rank() == 0) std::ranges::copy(means, all.begin() + begin);
  }
  if (grid.data().size() > 1) {
    const std::span<double> span = all;
    grid.data().all_reduce(span, span, ReduceOp::sum).wait();
  }
  std::vector<std::vector<double>> by_question(questions_.size());
  for (std::size_t i = 0; i < questions_.size(); ++i) {
    by_question[i].resize(questions_[i].endings.size());
  }
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    by_question[rows_[i].question][rows_[i].ending] = all[i];
  }
  std::size_t right = 0;
  for (std::size_t i = 0; i < questions_.size(); ++i) {
    const auto best = std::ranges::min_element(by_question[i]) - by_question[i].begin();
    if (static_cast<std::size_t>(best) == questions_[i].answer) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(questions_.size());
}

// The mean loss of each row's ending.
std::vector<double> ChoiceAccuracy::losses(Gpt& model, std::span<const Row> rows) const {
  const std::int64_t steps = (rows.front().length + length_step - 1) / length_step;
  const std::int64_t length = std::min(context_, steps * length_step);
  const auto width = static_cast<std::size_t>(length);
  std::vector<std::int32_t> inputs(rows.size() * width, 0), targets(rows.size() * width, -1);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ChoiceQuestion& question = questions_[rows[i].question];
    const std::vector<std::int32_t>& ending = question.endings[rows[i].ending];
    std::vector<std::int32_t> tokens = question.context;
    tokens.insert(tokens.end(), ending.begin(), ending.end());
    const auto count = static_cast<std::size_t>(rows[i].length);
    const auto kept = std::span(tokens).last(count + 1);
    std::ranges::copy(kept.first(count), inputs.begin() + static_cast<std::ptrdiff_t>(i * width));
    std::ranges::copy(kept.last(ending.size()), targets.begin() +
                                                    static_cast<std::ptrdiff_t>(i * width + count) -
                                                    static_cast<std::ptrdiff_t>(ending.size()));
  }
  Batch batch;
  batch.inputs = inputs;
  batch.targets = targets;
  batch.sequences = static_cast<std::int64_t>(rows.size());
  batch.context = length;
  const std::vector<double> of_tokens = model.token_losses(batch);
  std::vector<double> means;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = std::span(of_tokens).subspan(i * width, width);
    const std::size_t size = questions_[rows[i].question].endings[rows[i].ending].size();
    means.push_back(std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(size));
  }
  return means;
}

}  // namespace train
