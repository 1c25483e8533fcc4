#include "libtrain/forecast/grid_choice.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "libtrain/step_passes.hpp"

namespace train {
namespace {

constexpr double as_fast = 1.02;

template <typename T>
std::vector<T> either(const std::optional<T>& decided, std::vector<T> all) {
  return decided ? std::vector<T>{*decided} : all;
}

// Tensor ranks of every grid that the ranks make.
std::vector<int> tensor_ranks(const GridQuestion& question) {
  const GptConfig& config = question.training.config;
  std::vector<int> found;
  for (int tensor = 1; tensor <= question.ranks; ++tensor) {
    if (question.ranks % tensor != 0) continue;
    if (question.tensor && *question.tensor != tensor) continue;
    if (question.data && *question.data != question.ranks / tensor) continue;
    if (tensor > config.hidden || tensor > config.vocabulary) continue;
    found.push_back(tensor);
  }
  return found;
}

// Passes over a share that all have as many sequences.
std::vector<StepPasses> passes_of(const GridQuestion& question, int data) {
  if (question.micro_batch) {
    return {StepPasses::of(question.batch, data, *question.micro_batch)};
  }
  const std::int64_t share = StepPasses::of(question.batch, data, 0).sequences;
  std::vector<StepPasses> found;
  for (std::int64_t count = 1; count <= share; ++count) {
    if (share % count == 0) found.push_back({share / count, count});
  }
  return found;
}

auto simplicity(const GridPlan& plan) {
  const TrainingShape& shape = plan.shape;
  return std::tuple(shape.tensor, shape.optimizer.zero, shape.recompute, shape.passes,
                    !shape.sequence_parallel);
}

// Of plans [first, last), the simplest that is about as fast as the fastest.
template <typename Iterator>
Iterator simplest(Iterator first, Iterator last) {
  const double fastest = std::min_element(first, last, [](const auto& a, const auto& b) {
                           return a.step.seconds() < b.step.seconds();
                         })->step.seconds();
  return std::min_element(first, last, [&](const auto& a, const auto& b) {
    const bool a_slow = a.step.seconds() > as_fast * fastest;
    const bool b_slow = b.step.seconds() > as_fast * fastest;
    return std::tuple(a_slow, simplicity(a)) < std::tuple(b_slow, simplicity(b));
  });
}

/// Goes through all plans, and keeps those that fit.
class Search {
 public:
  explicit Search(const GridQuestion& question) : question_(question) {}

  void of_tensor(int tensor) {
    shape_ = question_.training;
    shape_.tensor = tensor;
    shape_.data = question_.ranks / tensor;
    outlines_ = outlines_of(shape_.config, tensor);
    const std::vector<Zero> stages =
        shape_.data == 1 ? std::vector{Zero::stage0}
                         : std::vector{Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};
    for (const Zero zero : either(question_.zero, stages)) {
      shape_.optimizer.zero = zero;
      of_stage();
    }
  }
  GridChoice choice() && {
    if (!choice_.plans.empty()) {
      std::ranges::sort(choice_.plans, {}, [](const auto& plan) { return plan.step.seconds(); });
      const auto best = simplest(choice_.plans.begin(), choice_.plans.end());
      choice_.best = static_cast<std::size_t>(best - choice_.plans.begin());
    }
    return std::move(choice_);
  }

 private:
  void of_stage() {
    std::vector<GridPlan> fitting;
    buckets_.clear();
    for (const ModelOutline& outline : outlines_) {
      buckets_.push_back(outline.buckets(shape_.optimizer, shape_.data));
    }
    const std::vector<bool> rows =
        shape_.tensor == 1 ? std::vector{true} : std::vector{true, false};
    for (const bool split_rows : either(question_.sequence_parallel, rows)) {
      shape_.sequence_parallel = split_rows;
      for (const Recompute recompute :
           either(question_.recompute, {Recompute::none, Recompute::attention, Recompute::block})) {
        shape_.recompute = recompute;
        for (const StepPasses& passes : passes_of(question_, shape_.data)) {
          shape_.sequences = passes.sequences;
          shape_.passes = static_cast<int>(passes.count);
          look(fitting);
        }
      }
    }
    if (!fitting.empty()) choice_.plans.push_back(*simplest(fitting.begin(), fitting.end()));
  }

  // What is slowest, and what is largest, on any rank.
  void look(std::vector<GridPlan>& fitting) {
    GridPlan plan{shape_, {}, {}};
    for (const ModelOutline& outline : outlines_) {
      const MemoryForecast memory = forecast_memory(outline, shape_);
      if (memory.total() > plan.memory.total()) plan.memory = memory;
    }
    if (!choice_.smallest || plan.memory.total() < choice_.smallest->memory.total()) {
      choice_.smallest = plan;
    }
    if (plan.memory.total() > question_.memory_bytes) return;
    for (std::size_t i = 0; i < outlines_.size(); ++i) {
      const StepForecast step = forecast_step(outlines_[i], buckets_[i], shape_, question_.device,
                                              question_.interconnect);
      if (step.seconds() > plan.step.seconds()) plan.step = step;
    }
    fitting.push_back(std::move(plan));
  }

  const GridQuestion& question_;
  TrainingShape shape_;
  std::vector<ModelOutline> outlines_;
  std::vector<std::vector<Bucket>> buckets_;
  GridChoice choice_;
};

}  // namespace

std::string GridPlan::unequal(std::int64_t batch) const {
  std::vector<std::string> what;
  const auto check = [&](std::int64_t count, int ranks, const char* name) {
    if (count % ranks != 0) what.push_back(fmt::format("{} {} over {} ranks", count, name, ranks));
  };
  check(batch, shape.data, "sequences");
  check(shape.config.kv_heads, shape.tensor, "key/value heads");
  check(shape.config.hidden, shape.tensor, "hidden features");
  check(shape.config.vocabulary, shape.tensor, "tokens of the vocabulary");
  return fmt::format("{}", fmt::join(what, ", "));
}

GridChoice choose_grid(const GridQuestion& question) {
  const std::vector<int> tensors = tensor_ranks(question);
  if (tensors.empty()) {
    throw Error(fmt::format(
        "no grid of {} ranks has what --data-parallel and --tensor-parallel say: their product "
        "must be the ranks, with at most {} tensor ranks",
        question.ranks,
        std::min(question.training.config.hidden, question.training.config.vocabulary)));
  }
  Search search(question);
  for (const int tensor : tensors) search.of_tensor(tensor);
  return std::move(search).choice();
}

std::optional<int> enough_ranks(GridQuestion question) {
  constexpr int ranks_most = 4096;
  question.data.reset();
  for (const int ranks = question.ranks; question.ranks <= ranks_most / 2;) {
    question.ranks = question.ranks < 2 * ranks ? 2 * ranks : 2 * question.ranks;
    if (!choose_grid(question).plans.empty()) return question.ranks;
  }
  return std::nullopt;
}

}  // namespace train
