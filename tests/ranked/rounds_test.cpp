// Clusters of different size, grid and stage as parts of one group of ranks: one job.

#include "libtrain/rounds/rounds.hpp"

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/job_of_clusters.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using training::ClusterOutcome;
using training::JobOfClusters;

namespace {

training::Run run_of(std::int64_t steps, std::int64_t batch) {
  return training::run_of(training::tiny_llama(), steps, batch);
}

std::vector<int> lane_counts(int ranks) {
  return ranks == 4 ? std::vector<int>{1, 2} : std::vector<int>{1};
}

// Records are there on a cluster's first rank alone.
void check_learned(const ClusterOutcome& outcome) {
  if (outcome.records.empty()) return;
  const auto mean = [&](std::size_t begin) {
    double sum = 0.0;
    for (std::size_t i = begin; i < begin + 10; ++i) sum += outcome.records[i].loss;
    return sum / 10.0;
  };
  CHECK(mean(outcome.records.size() - 10) < 0.95 * mean(0));
}

// What this rank has of them, f32.
void make_nan(const std::vector<LogicalTensor>& tensors) {
  for (const LogicalTensor& tensor : tensors) {
    if (!tensor.local.defined()) continue;
    const std::vector<float> bad(static_cast<std::size_t>(tensor.local.elements()),
                                 std::numeric_limits<float>::quiet_NaN());
    Tensor(tensor.local).copy_from_host(std::as_bytes(std::span(bad)));
  }
}

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

TEST_CASE("clusters that average every step's gradients train as one cluster does") {
  ranked([](Communicator& world) {
    for (const int lanes : lane_counts(world.size())) {
      JobOfClusters job(world);
      const auto clusters = static_cast<std::int64_t>(job.clusters());
      const ClusterOutcome outcome =
          job.train(run_of(20, 4), {.synchronisation = Synchronisation::every_step,
                                    .lanes = lanes,
                                    .codec = wide::Codec::none});
      job.check_same(outcome);
      CHECK(outcome.finished);
      CHECK(outcome.state.id.round == 20);

      const auto self = world.split(world.rank(), 0, "self");
      const auto alone = training::train_on(*self, run_of(20, 4 * clusters)).records;
      for (std::size_t step = 0; step < alone.size(); ++step) {
        const bool first = !outcome.records.empty();
        if (first) REQUIRE(outcome.records.size() == alone.size());
        // Each cluster's loss is over its own sequences; its gradient's norm is everybody's.
        const double sum = job.sum(first ? outcome.records[step].loss : 0.0);
        CHECK(sum / static_cast<double>(clusters) ==
              doctest::Approx(alone[step].loss).epsilon(1e-4));
        if (!first) continue;
        CHECK(outcome.records[step].grad_norm ==
              doctest::Approx(alone[step].grad_norm).epsilon(1e-3));
        CHECK(outcome.records[step].tokens == alone[step].tokens);
      }
    }
  });
}

TEST_CASE("after each round all clusters have the same parameters, with every codec") {
  ranked([](Communicator& world) {
    for (const int lanes : lane_counts(world.size())) {
      for (const wide::Codec codec :
           {wide::Codec::none, wide::Codec::bf16, wide::Codec::int8, wide::Codec::int4}) {
        CAPTURE(static_cast<int>(codec));
        JobOfClusters job(world);
        const ClusterOutcome outcome =
            job.train(run_of(120, 4 + 2 * static_cast<std::int64_t>(job.index())),
                      {.inner_steps = 10, .lanes = lanes, .codec = codec});
        job.check_same(outcome);
        check_learned(outcome);
        CHECK(outcome.state.id.round == 12);
        for (const StepRecord& record : outcome.records) {
          REQUIRE(record.job.has_value());
          CHECK(record.job->round == record.step / 10);
          CHECK(record.job->clusters == static_cast<std::int64_t>(job.clusters()));
        }
      }
    }
  });
}

TEST_CASE("training goes on during exchanges, and takes them over a stated number of steps later") {
  ranked([](Communicator& world) {
    JobOfClusters job(world);
    const ClusterOutcome outcome =
        job.train(run_of(120, 4), {.inner_steps = 10, .overlap_steps = 3});
    job.check_same(outcome);
    check_learned(outcome);
    for (const StepRecord& record : outcome.records) {
      const std::int64_t rounds_over = record.step / 10;
      const bool late = record.step % 10 < 3 && record.step != 120;
      CHECK(record.job->round == (late ? std::max<std::int64_t>(rounds_over - 1, 0) : rounds_over));
    }
  });
}

TEST_CASE("bf16 models exchange their full-precision copies") {
  ranked([](Communicator& world) {
    JobOfClusters job(world);
    training::Run run = run_of(6, 4);
    run.type = DataType::bf16;
    job.check_same(job.train(run, {.inner_steps = 3}));
  });
}

TEST_CASE("with one cluster, plain averaging and no codec, rounds change nothing but rounding") {
  ranked([](Communicator& world) {
    if (world.size() > 1) return;
    JobOfClusters job(world);
    const auto with = job.train(
        run_of(12, 4),
        {.inner_steps = 3, .codec = wide::Codec::none, .outer = {.lr = 1.0f, .momentum = 0.0f}});
    const auto without = training::train_on(world, run_of(12, 4));
    REQUIRE(with.records.size() == without.records.size());
    for (std::size_t step = 0; step < with.records.size(); ++step) {
      CHECK(with.records[step].loss == doctest::Approx(without.records[step].loss).epsilon(1e-5));
    }
  });
}

TEST_CASE("a job that stops before its schedule is over ends with a whole round") {
  ranked([](Communicator& world) {
    if (world.size() > 2) return;
    for (const auto& [stop_at, last, rounds] : {std::array{11, 12, 5}, {12, 12, 5}, {19, 20, 8}}) {
      JobOfClusters job(world);
      training::Run run = run_of(20, 4);
      run.trainer.stop_at = stop_at;
      const ClusterOutcome outcome = job.train(run, {.inner_steps = 10, .fragments = 4});
      CHECK(outcome.finished);
      CHECK(outcome.state.id.round == static_cast<std::uint64_t>(rounds));
      if (!outcome.records.empty()) CHECK(outcome.records.back().step == last);
    }
  });
}

TEST_CASE("a cluster that is told to leave does, and the others finish") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    JobOfClusters job(world);
    std::atomic<bool> leaves = false;
    const bool leaver = job.index() == 1;
    const ClusterOutcome outcome = job.train(
        run_of(60, 4), {.inner_steps = 5}, [&] { return leaves.load(); },
        [&](const StepRecord& record) { leaves = leaver && record.step >= 12; });
    CHECK(outcome.finished == !leaver);
    CHECK_FALSE(outcome.budget_spent);
    if (leaver) {
      CHECK(outcome.state.id.round >= 3);
      CHECK(outcome.state.id.round < 12);
    } else {
      CHECK(outcome.state.id.round == 12);
    }
  });
}

TEST_CASE("a cluster that is told to leave ends within its notice, with no coordinator too") {
  ranked([](Communicator& world) {
    if (world.size() > 1) return;
    JobOfClusters job(world);
    job.leave_notice = std::chrono::seconds(2);
    std::atomic<bool> leaves = false;
    const auto begin = Clock::now();
    const ClusterOutcome outcome = job.train(
        run_of(100'000, 4), {.inner_steps = 5}, [&] { return leaves.load(); },
        [&](const StepRecord& record) {
          if (record.step != 12) return;
          job.stop_coordinator();
          leaves = true;
        });
    CHECK_FALSE(outcome.finished);
    CHECK(outcome.state.id.round >= 2);
    CHECK(Clock::now() - begin < std::chrono::seconds(30));  // not the 40 s of its patience
  });
}

TEST_CASE("a cluster leaves before it has spent more than its budget, and the others finish") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    JobOfClusters job(world);
    const bool poor = job.index() == 1;
    job.egress.usd_per_gb = 1e9;  // a dollar per byte
    if (poor) job.egress.budget_usd = 300'000.0;
    const ClusterOutcome outcome = job.train(run_of(300, 4), {.inner_steps = 3});
    CHECK(outcome.finished == !poor);
    CHECK(outcome.budget_spent == poor);
    double spent = 0.0;
    for (const StepRecord& record : outcome.records) {
      REQUIRE(record.egress_usd.has_value());
      CHECK(*record.egress_usd >= spent);
      CHECK(*record.egress_usd == doctest::Approx(static_cast<double>(record.wide_bytes_sent)));
      spent = *record.egress_usd;
    }
    if (!poor) {
      CHECK(outcome.state.id.round == 100);
      return;
    }
    CHECK(outcome.state.id.round >= 2);
    CHECK(outcome.state.id.round < 100);
    CHECK(spent <= 300'000.0);
    if (!outcome.records.empty()) CHECK(spent > 100'000.0);
  });
}

TEST_CASE("a newcomer's state is sent within the budget, or by another cluster, or not at all") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    for (const bool rich : {true, false}) {
      CAPTURE(rich);
      wide::CoordinatorConfig config;
      config.gather_ms = 0;
      config.rejoin_ms = 200;
      config.late_ms = 1000;
      JobOfClusters job(world, config, 1);
      const bool late = job.index() + 1 == job.clusters();
      const training::Run run = run_of(60, 4);
      // A dollar per byte. Without other clusters the first one exchanges with nobody, else its
      // budget ends with the job on its way.
      job.egress.usd_per_gb = 1e9;
      const double state_usd =
          2.0 * sizeof(float) * static_cast<double>(run.config.parameter_count());
      const double budget_usd = rich ? 40.0 * state_usd : state_usd;
      if (job.index() == 0) job.egress.budget_usd = budget_usd;
      if (late) pause(1500);
      const ClusterOutcome outcome =
          job.train(run, {.inner_steps = 3}, {}, [](const StepRecord&) { pause(25); });
      const bool helped = job.clusters() > 2;
      CHECK(outcome.too_late == (late && !rich && !helped));
      CHECK(outcome.budget_spent == (job.index() == 0 && !rich && helped));
      CHECK(outcome.finished == !(outcome.too_late || outcome.budget_spent));
      if (job.index() == 0 && !outcome.records.empty()) {
        CHECK(outcome.records.back().egress_usd.value() <= budget_usd);
      }
      job.sum(1.0);  // the coordinator stays until all are at the end
    }
  });
}

TEST_CASE("a cluster that comes late fetches the state and ends with the others") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    wide::CoordinatorConfig config;
    config.gather_ms = 0;
    JobOfClusters job(world, config, 1);
    const bool late = job.index() == 1;
    if (late) pause(1500);
    const ClusterOutcome outcome =
        job.train(run_of(200, 4), {.inner_steps = 5}, {}, [&](const StepRecord&) { pause(25); });
    CHECK(outcome.finished);
    job.check_same(outcome);
    if (late && !outcome.records.empty()) CHECK(outcome.records.front().step > 1);
  });
}

TEST_CASE("a cluster that gets no samples for a step adds nothing, whatever its gradients hold") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    wide::CoordinatorConfig config;
    config.samples_total = 3;  // less than one cluster's batch
    JobOfClusters job(world, config);
    const auto spoil = [](ShardedOptimizer& optimizer) { make_nan(optimizer.gradients()); };
    const ClusterOutcome outcome =
        job.train(run_of(5, 4), {.synchronisation = Synchronisation::every_step}, {}, {}, spoil);
    job.check_same(outcome);
    CHECK(outcome.state.id.round == 1);
    CHECK(outcome.finished);
  });
}

TEST_CASE("a cluster whose values are not finite ends and names the tensor; the others go on") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    JobOfClusters job(world);
    ShardedOptimizer* optimizer = nullptr;
    // In the copies that the next pass does not read, so that the exchange is what meets it.
    const auto spoil = [&](const StepRecord& record) {
      if (job.index() == 1 && record.step == 1) make_nan(optimizer->full_precision());
    };
    training::Run run = run_of(8, 4);
    run.type = DataType::bf16;
    const auto train = [&] {
      return job.train(run, {.inner_steps = 2}, {}, spoil,
                       [&](ShardedOptimizer& one) { optimizer = &one; });
    };
    if (job.index() == 1) {
      CHECK_THROWS_WITH_AS(train(), doctest::Contains(".weight: codec int8: value nan"), Error);
    } else {
      CHECK(train().finished);
    }
  });
}

TEST_CASE("a state of the job that cannot be is an error of the checkpoint") {
  ranked([](Communicator& world) {
    if (world.size() > 1) return;
    const Grid grid(world, {.data = 1, .tensor = 1}, train::test::rank_device(0));
    Gpt model(training::tiny_llama(), grid.device());
    parallelize(model, grid, megatron_plan());
    ShardedOptimizer optimizer(model, grid, AdamW{}, {});
    Rounds rounds(grid, optimizer, {}, {.cluster = "aws", .coordinator = {}});
    for (const char* untrained : {"[[5, 2]]", "[[2, 30]]", "[[1]]", "7", "[[-1, 2]]"}) {
      CAPTURE(untrained);
      const std::string state =
          std::string(
              R"({"epoch": 1, "round": 2, "attempt": 1, "hash": "0", "next_sample": 20, )") +
          R"("steps": 20, "inner_steps": 10, "fragments": 1, "lanes": 1, "untrained": )" +
          untrained + "}";
      CHECK_THROWS_WITH_AS(rounds.resume(state), doctest::Contains("cannot be read"), Error);
    }
  });
}

TEST_CASE("options that cannot be are refused") {
  ranked([](Communicator& world) {
    JobOfClusters job(world);
    CHECK_THROWS_WITH_AS(job.train(run_of(2, 4), {.lanes = 99}), doctest::Contains("99 lanes"),
                         Error);
  });
}
