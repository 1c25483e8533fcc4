#include "libtrain/forecast/grid_choice.hpp"

#include <algorithm>
#include <numeric>
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

std::vector<int> divisors(int number) {
  std::vector<int> found;
  for (int divisor = 1; divisor <= number; ++divisor) {
    if (number % divisor == 0) found.push_back(divisor);
  }
  return found;
}

// Every grid that the ranks make. Ranks that are more than the heads would have no attention to
// share, unless that was decided.
std::vector<GridShape> grids_of(const GridQuestion& question) {
  const GptConfig& config = question.training.config;
  const auto decided = [](const std::optional<int>& what, int value) {
    return !what || *what == value;
  };
  std::vector<GridShape> found;
  for (const int tensor : divisors(question.ranks)) {
    if (!decided(question.tensor, tensor)) continue;
    if (tensor > config.hidden || tensor > config.vocabulary) continue;
    for (const int context : divisors(question.ranks / tensor)) {
      const int data = question.ranks / tensor / context;
      if (!decided(question.context, context) || !decided(question.data, data)) continue;
      if (context > config.context) continue;
      if (question.shard.value_or(0) > 0 && data * context % *question.shard != 0) continue;
      if (!question.context && context > 1 && context * tensor > config.heads) continue;
      found.push_back({.data = data, .context = context, .tensor = tensor});
    }
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
  return std::tuple(shape.context * shape.tensor, shape.tensor, shape.optimizer.zero,
                    shape.shard != 0, shape.recompute, shape.passes, !shape.sequence_parallel);
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

  void of_grid(const GridShape& grid) {
    shape_ = question_.training;
    shape_.tensor = grid.tensor;
    shape_.context = grid.context;
    shape_.data = grid.data;
    outlines_ = outlines_of(shape_);
    const std::vector<Zero> stages =
        shape_.data_ranks() == 1
            ? std::vector{Zero::stage0}
            : std::vector{Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};
    for (const Zero zero : either(question_.zero, stages)) {
      shape_.optimizer.zero = zero;
      for (const int shard : shards_of()) {
        shape_.shard = shard;
        of_stage();
      }
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
  // All data ranks, or those of a node, which a fast network joins.
  std::vector<int> shards_of() const {
    if (question_.shard) return {*question_.shard};
    const int node = question_.interconnect.ranks_per_node;
    const int on_node = std::gcd(shape_.data_ranks(), node / std::gcd(node, shape_.tensor));
    const bool parts = on_node > 1 && on_node < shape_.data_ranks();
    if (!parts || shape_.optimizer.zero == Zero::stage0) return {0};
    return {0, on_node};
  }

  void of_stage() {
    std::vector<GridPlan> fitting;
    buckets_.clear();
    for (const ModelOutline& outline : outlines_) {
      buckets_.push_back(outline.buckets(shape_));
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
  check(shape.config.context, shape.context, "rows of a sequence");
  check(shape.config.kv_heads, shape.context * shape.tensor, "key/value heads");
  check(shape.config.hidden, shape.tensor, "hidden features");
  check(shape.config.vocabulary, shape.tensor, "tokens of the vocabulary");
  return fmt::format("{}", fmt::join(what, ", "));
}

GridChoice choose_grid(const GridQuestion& question) {
  const std::vector<GridShape> grids = grids_of(question);
  if (grids.empty()) {
    throw Error(fmt::format(
        "no grid of {} ranks has what --data-parallel, --context-parallel, --tensor-parallel and "
        "--zero-ranks say: the product of the first three must be the ranks, with at most {} "
        "tensor "
        "ranks, and --zero-ranks divide that of the first two",
        question.ranks,
        std::min(question.training.config.hidden, question.training.config.vocabulary)));
  }
  Search search(question);
  for (const GridShape& grid : grids) search.of_grid(grid);
  return std::move(search).choice();
}

std::optional<int> enough_ranks(GridQuestion question) {
  constexpr int ranks_most = 4096;
  question.data.reset();
  // What needs least memory will do.
  question.shard = question.shard.value_or(0);
  question.micro_batch = question.micro_batch.value_or(1);
  for (const int ranks = question.ranks; question.ranks <= ranks_most / 2;) {
    question.ranks = question.ranks < 2 * ranks ? 2 * ranks : 2 * question.ranks;
    if (!choose_grid(question).plans.empty()) return question.ranks;
  }
  return std::nullopt;
}

}  // namespace train
