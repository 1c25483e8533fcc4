// What the communicators count in a step is what the literature says it costs, and gradients travel
// while the backward pass runs.

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "libtrain/metrics/overlap.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/tensor/philox.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/volumes.hpp"

using namespace train;

namespace {

constexpr std::int64_t context = 48;
constexpr std::int64_t sequences =
    2;  // of a pass; with the context, rows that 2, 3 and 4 divide, as the width
constexpr std::int64_t rows = sequences * context;

struct Case {
  int data = 1;
  int context = 1;
  int tensor = 1;
  Zero zero = Zero::stage0;
  bool sequence_parallel = true;
  Recompute recompute = Recompute::none;
  int passes = 1;
  DataType type = DataType::f32;
  DataType gradient_type = DataType::f32;
  int shard = 0;
};

GptConfig gpt2(std::int64_t layers = 2) {
  GptConfig config = parse_model("heads=4,width=96,context=48");
  config.layers = layers;
  config.vocabulary = 512;
  config.tied_head = true;
  return config;
}

// Enough norms that even their bucket is not a small message.
GptConfig llama() {
  GptConfig config = parse_model("llama,layers=3,heads=4,kv_heads=4,width=96,hidden=240");
  config.context = context;
  config.vocabulary = 512;
  config.tied_head = false;
  return config;
}

Gpt& split(Gpt& model, const Grid& grid, const Case& c) {
  parallelize(model, grid, megatron_plan(c.sequence_parallel));
  return model;
}

// A grid, a model and its optimizer, and steps over random tokens.
class Training {
 public:
  Training(Communicator& world, const GptConfig& config, const Case& c)
      : grid_(world, {.data = c.data, .context = c.context, .tensor = c.tensor, .shard = c.shard},
              make_cpu_device(1)),
        model_(config, grid_.device(), {.type = c.type, .recompute = c.recompute}),
        options_{.zero = c.zero,
                 .bucket_bytes = 250'000,
                 .gradient_type = c.gradient_type,
                 .resident_elements = 1000},
        optimizer_(split(model_, grid_, c), grid_, {.lr = 1e-3f}, options_),
        passes_(c.passes) {
    const Philox random(7, "tokens");
    for (std::int64_t i = 0; i < rows + 1; ++i) {
      const auto word =
          random(static_cast<std::uint64_t>(grid_.batch_part()), static_cast<std::uint64_t>(i))[0];
      tokens_.push_back(static_cast<std::int32_t>(word % 512));
    }
  }

  void step() {
    optimizer_.begin_step(passes_);
    for (int pass = 0; pass < passes_; ++pass) {
      Batch batch;
      batch.inputs = std::span(tokens_).first(rows);
      batch.targets = std::span(tokens_).last(rows);
      batch.sequences = sequences;
      batch.context = context;
      batch.tokens_in_step = rows * passes_ * grid_.batch_parts();
      model_.loss(batch).backward();
    }
    REQUIRE(std::isfinite(optimizer_.step()));
  }

  const Grid& grid() const { return grid_; }
  Gpt& model() { return model_; }
  const OptimizerOptions& options() const { return options_; }
  const ShardedOptimizer& optimizer() const { return optimizer_; }

 private:
  Grid grid_;
  Gpt model_;
  OptimizerOptions options_;
  ShardedOptimizer optimizer_;
  int passes_;
  std::vector<std::int32_t> tokens_;
};

// The collectives of a group while this object lives. Times of calls are the computing thread's.
class Calls {
 public:
  explicit Calls(Communicator& group) : group_(group) {
    group_.observe([this](const CallRecord& record) { records_.push_back(record); });
  }
  ~Calls() { group_.observe({}); }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  /// Once all have been waited for.
  std::vector<CallRecord> of(std::string_view operation) const {
    std::vector<CallRecord> found;
    for (const CallRecord& record : records_) {
      if (record.operation == operation) found.push_back(record);
    }
    return found;
  }

 private:
  Communicator& group_;
  std::vector<CallRecord> records_;
};

constexpr std::size_t head_unit = 5;  // after the embedding, three blocks and the final norm

// When units of a model ran backward.
class BackwardTimes final : public UnitObserver {
 public:
  explicit BackwardTimes(Gpt& model) : model_(model), times_(model.units().size()) {
    model_.add_observer(*this);
  }
  ~BackwardTimes() override { model_.remove_observer(*this); }

  Clock::time_point begin(std::size_t unit) const { return times_.at(unit).begin; }
  Clock::time_point end(std::size_t unit) const { return times_.at(unit).end; }

  void before_forward(std::size_t, bool) override {}
  void after_forward(std::size_t) override {}
  void before_backward(std::size_t unit) override { times_.at(unit).begin = Clock::now(); }
  void after_backward(std::size_t unit) override { times_.at(unit).end = Clock::now(); }

 private:
  Gpt& model_;
  std::vector<TimeInterval> times_;
};

struct Sent {
  StepTraffic data, context, tensor;
};

// The second step's bytes: nothing of the start is in them.
Sent bytes_of_step(Training& training) {
  training.step();
  const Traffic data = training.grid().data().traffic();
  const Traffic sequence = training.grid().context().traffic();
  const Traffic tensor = training.grid().tensor().traffic();
  training.step();
  return {volumes::sent_between(data, training.grid().data().traffic()),
          volumes::sent_between(sequence, training.grid().context().traffic()),
          volumes::sent_between(tensor, training.grid().tensor().traffic())};
}

TrainingShape shape_of(Training& training, const Case& c) {
  return {.config = training.model().config(),
          .data = c.data,
          .context = c.context,
          .tensor = c.tensor,
          .shard = c.shard,
          .sequence_parallel = c.sequence_parallel,
          .type = c.type,
          .recompute = c.recompute,
          .optimizer = training.options(),
          .sequences = sequences,
          .passes = c.passes,
          .gpu = false};
}

// Padding, and the gradient's norm: 8 bytes that one rank sends to the others.
double slack_of(double expected) {
  return 0.002 * expected + 24.0;
}

void check_close(double found, double expected) {
  CAPTURE(found);
  CAPTURE(expected);
  CHECK(std::abs(found - expected) <= slack_of(expected));
}

void check_close(const StepTraffic& found, const StepTraffic& expected, int ranks) {
  check_close(found.reduce_scatter, expected.reduce_scatter);
  check_close(found.all_gather, expected.all_gather);
  CHECK(found.all_to_all == doctest::Approx(expected.all_to_all));
  // With small messages sent either way.
  const double extra = std::max(0.0, ranks / 2.0 - 1.0) * expected.small;
  CAPTURE(expected.all_reduce);
  CHECK(found.all_reduce >= expected.all_reduce - slack_of(expected.all_reduce));
  CHECK(found.all_reduce <= expected.all_reduce + extra + slack_of(expected.all_reduce));
}

void check_case(Communicator& world, const GptConfig& config, const Case& c) {
  CAPTURE(c.data);
  CAPTURE(c.context);
  CAPTURE(c.tensor);
  CAPTURE(static_cast<int>(c.zero));
  CAPTURE(c.sequence_parallel);
  CAPTURE(static_cast<int>(c.recompute));
  CAPTURE(c.passes);
  CAPTURE(static_cast<int>(c.type));
  CAPTURE(static_cast<int>(c.gradient_type));
  Training training(world, config, c);
  const Sent sent = bytes_of_step(training);
  const TrainingShape shape = shape_of(training, c);
  check_close(sent.data, data_traffic(training.model(), shape), shape.data_ranks());
  const ModelOutline outline(shape.config, {c.tensor, training.grid().tensor().rank(), c.context,
                                            training.grid().context().rank()});
  check_close(sent.context, context_traffic(outline, shape), c.context);
  check_close(sent.tensor, tensor_traffic(shape), c.tensor);
}

constexpr Zero stages[] = {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3};

}  // namespace

TEST_CASE("data parallelism and stages 1 and 2 send 2 Psi, stage 3 sends 3 Psi") {
  ranked([](Communicator& world) {
    const GptConfig config = gpt2(6);
    const double n = world.size();
    const double psi = static_cast<double>(config.parameter_count()) * sizeof(float) * (n - 1) / n;
    for (const Zero zero : stages) {
      CAPTURE(static_cast<int>(zero));
      Training training(world, config, {.data = world.size(), .zero = zero});
      const double sent = bytes_of_step(training).data.total();
      const double published = zero == Zero::stage3 ? 3 * psi : 2 * psi;
      CAPTURE(sent / psi);
      CHECK(std::abs(sent - published) <= 0.02 * published);
    }
  });
}

TEST_CASE("data parallelism sends what its formula says, by kind of call") {
  ranked([](Communicator& world) {
    const int n = world.size();
    for (const Zero zero : stages) {
      check_case(world, llama(), {.data = n, .zero = zero});
      check_case(world, gpt2(), {.data = n, .zero = zero, .passes = 2});
    }
    check_case(world, gpt2(), {.data = n, .zero = Zero::stage3, .recompute = Recompute::block});
    for (const DataType gradients : {DataType::f32, DataType::bf16}) {
      check_case(
          world, gpt2(),
          {.data = n, .zero = Zero::stage3, .type = DataType::bf16, .gradient_type = gradients});
    }
  });
}

TEST_CASE("shard groups send as much as data groups of their size, and shards' sums to replicas") {
  ranked([](Communicator& world) {
    for (int shard = 1; shard < world.size(); ++shard) {
      if (world.size() % shard != 0) continue;
      for (const Zero zero : std::span(stages).subspan(1)) {
        CAPTURE(shard);
        CAPTURE(static_cast<int>(zero));
        const Case c{.data = world.size(), .zero = zero, .passes = 2, .shard = shard};
        Training training(world, gpt2(), c);
        training.step();
        const Traffic within = training.grid().shard().traffic();
        const Traffic between = training.grid().replicas()->traffic();
        training.step();
        const TrainingShape shape = shape_of(training, c);
        check_close(volumes::sent_between(within, training.grid().shard().traffic()),
                    data_traffic(training.model(), shape), shard);
        const auto sums = volumes::sent_between(between, training.grid().replicas()->traffic());
        check_close(sums.total(), replica_traffic(training.model(), shape).total());
        CHECK(sums.total() == sums.all_reduce);
      }
    }
  });
}

TEST_CASE("tensor parallelism sends what its formula says, by kind of call") {
  ranked([](Communicator& world) {
    const int t = world.size();
    for (const bool split_rows : {false, true}) {
      for (const auto recompute : {Recompute::none, Recompute::attention, Recompute::block}) {
        check_case(world, gpt2(),
                   {.tensor = t, .sequence_parallel = split_rows, .recompute = recompute});
      }
      check_case(world, llama(), {.tensor = t, .sequence_parallel = split_rows, .passes = 2});
      check_case(world, gpt2(),
                 {.tensor = t, .sequence_parallel = split_rows, .type = DataType::bf16});
    }
  });
}

TEST_CASE("a layer costs 8 M C (t-1)/t elements with whole rows and 10 with split ones") {
  ranked([](Communicator& world) {
    const double t = world.size();
    for (const bool split_rows : {false, true}) {
      CAPTURE(split_rows);
      StepTraffic sent[2];
      for (const int more : {0, 1}) {
        Training training(world, gpt2(1 + more),
                          {.tensor = world.size(), .sequence_parallel = split_rows});
        sent[more] = bytes_of_step(training).tensor;
      }
      const double once = static_cast<double>(rows * 96) * sizeof(float) * (t - 1) / t;
      if (split_rows) {
        CHECK(sent[1].reduce_scatter - sent[0].reduce_scatter == doctest::Approx(4 * once));
        CHECK(sent[1].all_gather - sent[0].all_gather == doctest::Approx(6 * once));
      } else {
        CHECK(sent[1].total() - sent[0].total() == doctest::Approx(8 * once));
      }
    }
  });
}

TEST_CASE("context parallelism sends what its formula says, and what the paper says") {
  ranked([](Communicator& world) {
    const int n = world.size();
    for (const auto recompute : {Recompute::none, Recompute::attention, Recompute::block}) {
      check_case(world, gpt2(), {.context = n, .zero = Zero::stage1, .recompute = recompute});
    }
    GptConfig config = llama();
    config.kv_heads = 2;
    check_case(world, config, {.context = n, .passes = 2, .type = DataType::bf16});
    if (n == 3) return;
    // (3 + 1) M C / n forward, and backward (Jacobs et al., 2023).
    Training training(world, gpt2(3), {.context = n});
    const double once = static_cast<double>(rows * 96) * sizeof(float) * (n - 1) / n / n;
    CHECK(bytes_of_step(training).context.total() == doctest::Approx(3 * 8 * once));
    if (n != 4) return;
    check_case(world, gpt2(), {.data = 2, .context = 2, .zero = Zero::stage3});
    check_case(world, gpt2(), {.context = 2, .tensor = 2});
  });
}

TEST_CASE("gradients set out while the backward pass still runs") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    for (const Zero zero : {Zero::stage0, Zero::stage2}) {
      CAPTURE(static_cast<int>(zero));
      Training training(world, gpt2(3), {.data = world.size(), .zero = zero});
      Calls calls(training.grid().data());
      BackwardTimes times(training.model());
      training.step();
      const auto reductions = calls.of(zero == Zero::stage0 ? "all_reduce" : "reduce_scatter");
      REQUIRE(reductions.size() == training.optimizer().buckets().size());
      const auto set_out_before = [&](Clock::time_point time) {
        return std::ranges::count_if(reductions,
                                     [&](const CallRecord& call) { return call.called < time; });
      };
      CHECK(set_out_before(times.begin(head_unit)) == 0);
      CHECK(set_out_before(times.begin(2)) >= 2);  // two blocks more to go
      CHECK(set_out_before(times.begin(1)) >= 4);
      // The embedding's gradient, the last one, completes the last bucket.
      CHECK(set_out_before(times.end(0)) == static_cast<std::ptrdiff_t>(reductions.size()));
    }
  });
}

TEST_CASE("stage 3 asks for a block's values while the block before it runs") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    Training training(world, gpt2(3), {.data = world.size(), .zero = Zero::stage3});
    Calls calls(training.grid().data());
    BackwardTimes times(training.model());
    training.step();
    const auto gathers = calls.of("all_gather");
    for (const std::size_t block : {2, 1}) {
      const auto between = std::ranges::count_if(gathers, [&](const CallRecord& call) {
        return times.end(block + 2) < call.called && call.called < times.end(block + 1);
      });
      CHECK(between >= 2);  // a block's matrices take two buckets
    }
  });
}

TEST_CASE("data and tensor parallelism together send the sum of both") {
  ranked([](Communicator& world) {
    if (world.size() != 4) return;
    for (const Zero zero : stages) {
      const bool split_rows = zero != Zero::stage1;
      check_case(
          world, gpt2(),
          {.data = 2, .tensor = 2, .zero = zero, .sequence_parallel = split_rows, .passes = 2});
    }
    check_case(world, llama(), {.data = 2, .tensor = 2, .zero = Zero::stage3});
  });
}
