// Fragments of a model that clusters exchange at times of their own, beside the same algorithm in
// plain loops (Douillard et al.: "Streaming DiLoCo with overlapping communication", 2025).

#include "libtrain/rounds/fragments.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/support/job_of_clusters.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using training::ClusterOutcome;
using training::JobOfClusters;

namespace {

// "Training" that pulls each parameter towards another value in each cluster.
float trained(float value, std::size_t cluster) {
  return value + 0.05f * (static_cast<float>(cluster + 1) - value);
}

std::uint64_t tokens_of(std::size_t cluster, std::int64_t step) {
  return 8 * (1 + (cluster + static_cast<std::uint64_t>(step)) % 3);
}

using Tensors = std::map<std::string, std::vector<float>>;

// One fragment: its outer state, and its values in each cluster.
class Plain {
 public:
  Plain(Tensors start, std::size_t clusters, OuterOptions outer)
      : outer_(start),
        momentum_(start),
        local_(clusters, start),
        tokens_(clusters),
        options_(outer) {
    for (auto& [name, values] : momentum_) std::ranges::fill(values, 0.0f);
  }

  void step(std::int64_t step) {
    for (std::size_t c = 0; c < local_.size(); ++c) {
      for (auto& [name, values] : local_[c]) {
        for (float& value : values) value = trained(value, c);
      }
      tokens_[c] += tokens_of(c, step);
    }
  }
  void freeze() {
    snapshot_ = local_;
    weights_.assign(tokens_.begin(), tokens_.end());
    std::ranges::fill(tokens_, 0);
  }
  const std::vector<double>& weights() const { return weights_; }
  void exchange(const std::vector<double>& weights) {
    double total = 0.0;
    for (const double weight : weights) total += weight;
    for (auto& [name, outer] : outer_) {
      for (std::size_t i = 0; i < outer.size(); ++i) {
        double mean = 0.0;
        for (std::size_t c = 0; c < local_.size(); ++c) {
          mean += weights[c] / total * (static_cast<double>(outer[i]) - snapshot_[c][name][i]);
        }
        float& momentum = momentum_[name][i];
        momentum = options_.momentum * momentum + static_cast<float>(mean);
        outer[i] -= options_.lr * (static_cast<float>(mean) + options_.momentum * momentum);
        for (std::size_t c = 0; c < local_.size(); ++c) {
          local_[c][name][i] = outer[i] + (local_[c][name][i] - snapshot_[c][name][i]);
        }
      }
    }
  }
  const Tensors& outer() const { return outer_; }

 private:
  Tensors outer_, momentum_;
  std::vector<Tensors> local_, snapshot_;
  std::vector<std::uint64_t> tokens_;
  std::vector<double> weights_;
  OuterOptions options_;
};

constexpr std::int64_t inner_steps = 10, last_step = 24;
constexpr int fragments = 3;

// Fragments are exchanged behind steps 3, 6, 10, 13, 16, 20, 23, and all of them behind step 24.
Tensors plain_loops(std::vector<Plain> parts, std::int64_t overlap_steps) {
  std::size_t turn = 0;
  std::int64_t due = -1;
  const auto exchange = [&] {
    if (due < 0) return;
    Plain& part = parts[static_cast<std::size_t>(due)];
    part.exchange(part.weights());
    due = -1;
  };
  std::int64_t steps_since = 0;
  for (std::int64_t step = 0; step < last_step; ++step) {
    for (Plain& part : parts) part.step(step);
    ++steps_since;
    const bool ends = step + 1 == static_cast<std::int64_t>(turn + 1) * inner_steps / fragments;
    if (steps_since == overlap_steps || ends || step + 1 == last_step) exchange();
    if (!ends || step + 1 == last_step) continue;
    due = static_cast<std::int64_t>(turn++ % parts.size());
    parts[static_cast<std::size_t>(due)].freeze();
    steps_since = 0;
    if (overlap_steps == 0) exchange();
  }
  for (Plain& part : parts) part.freeze();
  std::vector<double> weights = parts[0].weights();
  for (const Plain& part : parts) {
    for (std::size_t c = 0; c < weights.size(); ++c) {
      weights[c] = std::max(weights[c], part.weights()[c]);
    }
  }
  Tensors all;
  for (Plain& part : parts) {
    part.exchange(weights);
    all.insert(part.outer().begin(), part.outer().end());
  }
  return all;
}

std::vector<float> gathered(const LogicalTensor& tensor, Communicator& world) {
  const std::vector<std::byte> bytes = gather(tensor, world, 0);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::ranges::copy(bytes, std::as_writable_bytes(std::span(values)).begin());
  return values;
}

void train_one_step(ShardedOptimizer& optimizer, std::size_t cluster) {
  for (const LogicalTensor& tensor : optimizer.full_precision()) {
    if (!tensor.local.defined()) continue;
    std::vector<float> values = train::test::to_host(tensor.local);
    for (float& value : values) value = trained(value, cluster);
    Tensor local = tensor.local;
    local.copy_from_host(std::as_bytes(std::span(values)));
  }
}

void check_like_plain_loops(Communicator& world, std::int64_t overlap_steps) {
  JobOfClusters job(world);
  const Grid grid(job.ranks(), job.form().grid, train::test::rank_device(job.ranks().rank()));
  Gpt model(training::tiny_llama(), grid.device());
  parallelize(model, grid, megatron_plan());
  ShardedOptimizer optimizer(model, grid, AdamW{}, {.zero = job.form().zero, .bucket_bytes = 2048});
  const RoundOptions options{.inner_steps = inner_steps,
                             .fragments = fragments,
                             .codec = wide::Codec::none,
                             .overlap_steps = overlap_steps};
  const Fragments dealt(optimizer.full_precision(), fragments);
  std::vector<Plain> parts;
  for (int i = 0; i < fragments; ++i) {
    Tensors start;
    const std::vector<LogicalTensor> ordered = dealt.in_order(optimizer.full_precision());
    const TensorRange range = dealt.tensors({i, i + 1});
    for (std::size_t t = range.begin; t < range.end; ++t) {
      start[ordered[t].name] = gathered(ordered[t], job.ranks());
    }
    parts.emplace_back(std::move(start), job.clusters(), options.outer);
  }
  const Tensors expected = plain_loops(std::move(parts), overlap_steps);

  Rounds rounds(grid, optimizer, options, job.options_of_cluster());
  rounds.begin({.steps = last_step, .last_step = last_step, .batch = 4, .context = 8});
  std::int64_t step = 0;
  while (const auto turn = rounds.next()) {
    CHECK(turn->step == step++);
    train_one_step(optimizer, job.index());
    rounds.trained(tokens_of(job.index(), turn->step));
  }
  CHECK(step == last_step);
  CHECK(rounds.finished());
  CHECK(rounds.state().id.round == 8);
  for (const LogicalTensor& tensor : optimizer.full_precision()) {
    CAPTURE(tensor.name);
    const std::vector<float> values = gathered(tensor, job.ranks());
    double worst = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      worst =
          std::max(worst, static_cast<double>(std::abs(values[i] - expected.at(tensor.name)[i])));
    }
    CHECK(worst < 1e-5);
  }
}

}  // namespace

TEST_CASE("fragments take turns as in the paper's algorithm") {
  ranked([](Communicator& world) { check_like_plain_loops(world, 0); });
}

TEST_CASE("fragments take turns while training goes on") {
  ranked([](Communicator& world) { check_like_plain_loops(world, 2); });
}

TEST_CASE("clusters that exchange fragments learn, and end with the same model") {
  ranked([](Communicator& world) {
    for (const int lanes : {1, world.size() == 4 ? 2 : 1}) {
      JobOfClusters job(world);
      const ClusterOutcome outcome =
          job.train(training::run_of(training::tiny_llama(), 95,
                                     4 + 2 * static_cast<std::int64_t>(job.index())),
                    {.inner_steps = 10, .fragments = 4, .lanes = lanes});
      job.check_same(outcome);
      CHECK(outcome.state.id.round == 38);
      if (outcome.records.empty()) continue;
      CHECK(outcome.records.back().loss < 0.95 * outcome.records.front().loss);
    }
  });
}

TEST_CASE("a state goes on in other fragments, in rounds of as many steps") {
  ranked([](Communicator& world) {
    if (world.size() > 1) return;
    const Grid grid(world, {.data = 1, .tensor = 1}, train::test::rank_device(0));
    Gpt model(training::tiny_llama(), grid.device());
    parallelize(model, grid, megatron_plan());
    ShardedOptimizer optimizer(model, grid, AdamW{}, {});
    const auto rounds_of = [&](std::int64_t inner, int count) {
      return std::make_unique<Rounds>(grid, optimizer,
                                      RoundOptions{.inner_steps = inner, .fragments = count},
                                      JobOptions{.cluster = "aws", .coordinator = {}});
    };
    const auto saved = rounds_of(3, 1);
    const auto state = [&](std::uint64_t hash) {
      return fmt::format(R"({{"epoch": 1, "round": 4, "attempt": 1, "hash": "{:016x}", )"
                         R"("next_sample": 48, "untrained": [], "steps": 12, "inner_steps": 3, )"
                         R"("fragments": 1, "lanes": 1}})",
                         hash);
    };
    const std::vector<LogicalTensor> from = saved->outer_tensors();
    const auto resume = [&](Rounds& rounds, const std::string& described) {
      std::vector<LogicalTensor> tensors = rounds.outer_tensors_to_load();
      for (LogicalTensor& tensor : tensors) {
        const auto same = std::ranges::find(from, tensor.name, &LogicalTensor::name);
        REQUIRE(same != from.end());
        std::vector<std::byte> bytes(tensor.local.bytes());
        same->local.copy_to_host(bytes);
        tensor.local.copy_from_host(bytes);
      }
      rounds.resume(described);
    };
    const auto other = rounds_of(6, 2);
    resume(*other, state(saved->hash()));
    CHECK(other->steps_committed() == 12);
    CHECK(other->hash() != saved->hash());
    CHECK_THROWS_WITH_AS(resume(*rounds_of(6, 1), state(saved->hash())),
                         doctest::Contains("--inner-steps 3 --fragments 1"), Error);
    CHECK_THROWS_WITH_AS(resume(*rounds_of(3, 1), state(saved->hash() + 1)),
                         doctest::Contains("saved with"), Error);
    // As earlier versions have saved them.
    const auto early = [&](std::uint64_t hash) {
      const std::string all = state(hash);
      return all.substr(0, all.find(R"(, "steps")")) + "}";
    };
    resume(*rounds_of(3, 1), early(saved->hash()));
    CHECK_THROWS_WITH_AS(resume(*rounds_of(3, 1), early(saved->hash() + 1)),
                         doctest::Contains("saved with"), Error);
  });
}

TEST_CASE("a job's state is saved from where it lies, and loaded to where it will") {
  ranked([](Communicator& world) {
    const Grid grid(world, {.data = world.size(), .tensor = 1},
                    train::test::rank_device(world.rank()));
    Gpt model(training::tiny_llama(), grid.device());
    parallelize(model, grid, megatron_plan());
    ShardedOptimizer optimizer(model, grid, AdamW{}, {});
    Rounds rounds(grid, optimizer, {.fragments = 2}, {.cluster = "aws", .coordinator = {}});
    const auto held = [&](MemoryUse use) { return memory_usage(grid.device()).peak_of(use); };
    const auto before = memory_usage(grid.device());
    const std::vector<LogicalTensor> saved = rounds.outer_tensors();
    for (const MemoryUse use : memory_uses) CHECK(held(use) == before.peak_of(use));
    std::int64_t own = 0;
    for (const LogicalTensor& tensor : saved) {
      if (tensor.local.defined()) own += static_cast<std::int64_t>(tensor.local.bytes());
    }
    CHECK((own > 0) == (world.rank() == 0));
    const std::vector<LogicalTensor> loaded = rounds.outer_tensors_to_load();
    for (const MemoryUse use : memory_uses) {
      CHECK(held(use) == before.peak_of(use) + (use == MemoryUse::lanes ? own : 0));
    }
    for (std::size_t i = 0; i < saved.size(); ++i) {
      REQUIRE(loaded[i].name == saved[i].name);
      if (!saved[i].local.defined()) continue;
      std::vector<std::byte> bytes(saved[i].local.bytes());
      saved[i].local.copy_to_host(bytes);
      loaded[i].local.copy_from_host(bytes);
    }
    const std::uint64_t hash = rounds.hash();
    rounds.resume(fmt::format(R"({{"epoch": 1, "round": 4, "attempt": 1, "hash": "{:016x}", )"
                              R"("next_sample": 48, "untrained": []}})",
                              hash));
    CHECK(rounds.hash() == hash);
    CHECK(rounds.state().id.round == 4);
  });
}

TEST_CASE("a cluster that comes late fetches all fragments") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    wide::CoordinatorConfig config;
    config.gather_ms = 0;
    JobOfClusters job(world, config, 1);
    const bool late = job.index() == 1;
    if (late) std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    const ClusterOutcome outcome = job.train(
        training::run_of(training::tiny_llama(), 150, 4), {.inner_steps = 9, .fragments = 3}, {},
        [&](const StepRecord&) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
    CHECK(outcome.finished);
    job.check_same(outcome);
    if (late && !outcome.records.empty()) CHECK(outcome.records.front().step > 1);
  });
}

TEST_CASE("with one cluster, plain averaging and no codec, fragments change nothing but rounding") {
  ranked([](Communicator& world) {
    if (world.size() > 1) return;
    const training::Run run = training::run_of(training::tiny_llama(), 20, 4);
    JobOfClusters job(world);
    const auto with = job.train(run, {.inner_steps = 6,
                                      .fragments = 4,
                                      .codec = wide::Codec::none,
                                      .outer = {.lr = 1.0f, .momentum = 0.0f}});
    const auto without = training::train_on(world, run);
    REQUIRE(with.records.size() == without.records.size());
    for (std::size_t step = 0; step < with.records.size(); ++step) {
      CHECK(with.records[step].loss == doctest::Approx(without.records[step].loss).epsilon(1e-5));
    }
  });
}
