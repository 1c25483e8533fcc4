// Accuracy on multiple-choice questions, on any grid, beside what logits say one by one.

#include "libtrain/choice_accuracy.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "libtrain/parallel/plan.hpp"
#include "libtrain/tensor/philox.hpp"
#include "tests/support/against_one_rank.hpp"
#include "tests/support/ranked.hpp"

using namespace train;

namespace {

std::vector<ChoiceQuestion> questions_of(std::int32_t vocabulary, int count) {
  const Philox random(5, "questions");
  std::uint64_t draw = 0;
  const auto below = [&](std::uint32_t bound) { return random(0, draw++)[0] % bound; };
  const auto text = [&](std::size_t length) {
    std::vector<std::int32_t> tokens(length);
    for (std::int32_t& token : tokens) {
      token = static_cast<std::int32_t>(below(static_cast<std::uint32_t>(vocabulary)));
    }
    return tokens;
  };
  std::vector<ChoiceQuestion> questions;
  for (int i = 0; i < count; ++i) {
    ChoiceQuestion question{text(1 + below(12)), {}, 0};  // some longer than the model's context
    const std::uint32_t endings = 2 + below(3);
    for (std::uint32_t ending = 0; ending < endings; ++ending) {
      question.endings.push_back(text(1 + below(8)));
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

// By the softmax of each position's logits.
double mean_loss(Gpt& model, const ChoiceQuestion& question, std::size_t ending) {
  std::vector<std::int32_t> tokens = question.context;
  tokens.insert(tokens.end(), question.endings[ending].begin(), question.endings[ending].end());
  const auto most = static_cast<std::size_t>(model.config().context) + 1;
  if (tokens.size() > most) tokens.erase(tokens.begin(), tokens.end() - static_cast<int>(most));
  Batch batch;
  batch.inputs = std::span(tokens).first(tokens.size() - 1);
  batch.sequences = 1;
  batch.context = static_cast<std::int64_t>(tokens.size()) - 1;
  const Tensor logits = model.logits(batch);
  const auto vocabulary = static_cast<std::size_t>(model.config().vocabulary);
  const std::size_t size = question.endings[ending].size();
  double sum = 0.0;
  for (std::size_t i = tokens.size() - size; i < tokens.size(); ++i) {
    const auto row = logits.span<const float>().subspan((i - 1) * vocabulary, vocabulary);
    double exponentials = 0.0;
    for (const float value : row) exponentials += std::exp(static_cast<double>(value));
    sum += std::log(exponentials) - static_cast<double>(row[static_cast<std::size_t>(tokens[i])]);
  }
  return sum / static_cast<double>(size);
}

// Answers that this model gets right, but for every third.
void answer(Gpt& model, std::vector<ChoiceQuestion>& questions) {
  for (std::size_t i = 0; i < questions.size(); ++i) {
    std::size_t best = 0;
    double least = mean_loss(model, questions[i], 0);
    for (std::size_t ending = 1; ending < questions[i].endings.size(); ++ending) {
      const double loss = mean_loss(model, questions[i], ending);
      if (loss >= least) continue;
      least = loss;
      best = ending;
    }
    questions[i].answer = i % 3 == 0 ? (best + 1) % questions[i].endings.size() : best;
  }
}

}  // namespace

TEST_CASE("the ending with the least mean loss is the model's, on any grid and in any passes") {
  ranked([](Communicator& world) {
    const auto self = world.split(world.rank(), 0, "self");
    for (const GptConfig& config : {training::tiny_gpt2(), training::tiny_llama()}) {
      std::vector<ChoiceQuestion> questions = questions_of(config.vocabulary, 30);
      {
        const Grid alone(*self, {}, make_cpu_device(1));
        Gpt model(config, alone.device());
        answer(model, questions);
      }
      std::vector<GridOptions> grids = training::grids_of(world.size());
      for (int context = 2; context <= world.size(); ++context) {
        if (world.size() % context == 0) grids.push_back({.context = context});
      }
      for (const GridOptions& options : grids) {
        const Grid grid(world, options, make_cpu_device(1));
        Gpt model(config, grid.device());
        parallelize(model, grid, megatron_plan());
        const ChoiceAccuracy accuracy(questions, config);
        CHECK(accuracy.questions() == 30);
        for (const std::int64_t micro_batch : {1, 7, 1000}) {
          CHECK(accuracy.measure(model, grid, micro_batch) == doctest::Approx(20.0 / 30.0));
        }
      }
    }
  });
}

TEST_CASE("questions that the model cannot read are refused by number") {
  ranked([](Communicator&) {
    const GptConfig config = training::tiny_gpt2();
    const std::vector<ChoiceQuestion> good = questions_of(config.vocabulary, 3);
    std::vector<ChoiceQuestion> unknown_token = good;
    unknown_token[1].context.back() = config.vocabulary;
    CHECK_THROWS_WITH_AS(ChoiceAccuracy(unknown_token, config),
                         doctest::Contains("question 1 has tokens outside"), Error);
    std::vector<ChoiceQuestion> long_ending = good;
    long_ending[2].endings[0].assign(9, 1);
    CHECK_THROWS_WITH_AS(ChoiceAccuracy(long_ending, config),
                         doctest::Contains("question 2 has 9 tokens"), Error);
    std::vector<ChoiceQuestion> incomplete = good;
    incomplete[1].context.clear();
    CHECK_THROWS_WITH_AS(ChoiceAccuracy(incomplete, config),
                         doctest::Contains("question 1 has no context"), Error);
    incomplete = good;
    incomplete[2].endings[1].clear();
    CHECK_THROWS_AS(ChoiceAccuracy(incomplete, config), Error);
    incomplete = good;
    incomplete[0].answer = incomplete[0].endings.size();
    CHECK_THROWS_AS(ChoiceAccuracy(incomplete, config), Error);
    CHECK_THROWS_AS(ChoiceAccuracy({}, config), Error);
  });
}
