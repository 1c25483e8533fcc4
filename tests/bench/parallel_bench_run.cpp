#include "tests/bench/parallel_bench_run.hpp"

#include <span>

#include "libtrain/memory_report.hpp"
#include "libtrain/metrics/overlap.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/step_trace.hpp"
#include "libtrain/tensor/philox.hpp"
#include "tests/support/volumes.hpp"

namespace train::bench {
namespace {

// Of one group's collectives on one rank.
class Channel {
 public:
  explicit Channel(Communicator& group) : group_(group), before_(group.traffic()) {
    group_.observe([this](const CallRecord& call) { busy_.push_back({call.began, call.ended}); });
  }
  ~Channel() { group_.observe({}); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  void waited(Clock::time_point begin, Clock::time_point end) { waits_.push_back({begin, end}); }
  void report(GroupFigures& figures) const {
    const Overlap overlap = measure_overlap(busy_, waits_);
    figures.bytes = volumes::sent_between(before_, group_.traffic()).total();
    figures.busy_s = overlap.busy_s;
    figures.waited_s = overlap.waited_busy_s;
  }

 private:
  Communicator& group_;
  Traffic before_;
  std::vector<TimeInterval> busy_, waits_;
};

GptConfig config_of(const Options& options) {
  GptConfig config = parse_model(options.model);
  config.vocabulary = options.vocabulary;
  return config;
}

}  // namespace

Run::Run(Communicator& world, int ranks_on_node, const Options& options,
         const Arrangement& arrangement)
    : options_(options),
      arrangement_(arrangement),
      grid_(
          world,
          {.data = arrangement.data, .context = arrangement.context, .tensor = arrangement.tensor},
          make_cpu_device(threads_per_rank({.threads = options.threads}, ranks_on_node))),
      model_(config_of(options), grid_.device(),
             {.type = options.type, .recompute = options.recompute}),
      optimizer_options_{.zero = arrangement.zero,
                         .bucket_bytes = options.bucket_kib << 10,
                         .resident_elements = 4 * model_.config().width},
      optimizer_(split(), grid_, {.lr = 1e-4f}, optimizer_options_) {
  draw_tokens();
}

Figures Run::measure() {
  for (int i = 0; i < warm_up_steps; ++i) step();
  reset_memory_peaks(grid_.device());
  grid_.world().barrier().wait();
  Figures figures;
  {
    Channel data(grid_.data()), inner(arrangement_.context > 1 ? grid_.context() : grid_.tensor());
    optimizer_.observe_waits([&](auto begin, auto end) { data.waited(begin, end); });
    model_.execution().observe_waits([&](auto begin, auto end) { inner.waited(begin, end); });
    const auto begin = Clock::now();
    for (int i = 0; i < options_.steps; ++i) step();
    figures.step_s = std::chrono::duration<double>(Clock::now() - begin).count();
    optimizer_.observe_waits({});
    model_.execution().observe_waits({});
    data.report(figures.data);
    inner.report(figures.inner);
  }
  expect(figures);
  weigh(figures);
  return mean_over_ranks(figures);
}

// Another two steps, drawn.
void Run::draw(const std::string& path) {
  Trace trace(grid_.world(), path);
  {
    const StepTrace drawing(trace, grid_, model_, optimizer_);
    for (int i = 0; i < 2; ++i) step();
  }
  trace.write();
}

Gpt& Run::split() {
  parallelize(model_, grid_, megatron_plan(arrangement_.split_rows));
  return model_;
}

void Run::draw_tokens() {
  const Philox random(1, "tokens");
  const auto row = static_cast<std::uint64_t>(grid_.batch_part());
  const auto bound = static_cast<std::uint32_t>(options_.vocabulary);
  for (std::int64_t i = 0; i < rows() + 1; ++i) {
    tokens_.push_back(
        static_cast<std::int32_t>(random(row, static_cast<std::uint64_t>(i))[0] % bound));
  }
}

void Run::step() {
  optimizer_.begin_step(options_.passes);
  for (int pass = 0; pass < options_.passes; ++pass) {
    Batch batch;
    batch.inputs = std::span(tokens_).first(tokens_.size() - 1);
    batch.targets = std::span(tokens_).last(tokens_.size() - 1);
    batch.sequences = options_.sequences;
    batch.context = model_.config().context;
    batch.tokens_in_step = rows() * options_.passes * arrangement_.data;
    model_.loss(batch).backward();
  }
  optimizer_.step();
}

void Run::expect(Figures& figures) const {
  const double steps = options_.steps;
  double elements = 0.0;
  for (const auto& parameter : model_.parameters()) {
    elements += static_cast<double>(parameter->local_shape().elements());
  }
  TrainingShape shape{.config = model_.config(),
                      .data = arrangement_.data,
                      .context = arrangement_.context,
                      .tensor = arrangement_.tensor,
                      .sequence_parallel = arrangement_.split_rows,
                      .type = options_.type,
                      .recompute = options_.recompute,
                      .optimizer = optimizer_options_,
                      .sequences = options_.sequences,
                      .passes = options_.passes,
                      .gpu = false};
  figures.data.expected = steps * data_traffic(model_, shape).total();
  const double data_ranks = shape.data_ranks();
  figures.data.unit = steps * elements * sizeof(float) * (data_ranks - 1) / data_ranks;

  const GptConfig& config = model_.config();
  const double activation = static_cast<double>(config.layers * rows() * config.width) *
                            static_cast<double>(size_of(options_.type));
  if (shape.context > 1) {
    const double n = shape.context;
    const ModelOutline outline(
        config, {.context_ranks = shape.context, .context_rank = grid_.context().rank()});
    figures.inner.expected = steps * context_traffic(outline, shape).total();
    figures.inner.unit = steps * options_.passes * activation * (n - 1) / (n * n);
    return;
  }
  const double t = shape.tensor;
  figures.inner.expected = steps * tensor_traffic(shape).total();
  shape.config.layers = 0;
  figures.inner.ends = steps * tensor_traffic(shape).total();
  figures.inner.unit = steps * options_.passes * activation * (t - 1) / t;
}

void Run::weigh(Figures& figures) const {
  const MemoryUsage usage = memory_usage(grid_.device());
  for (const MemoryUse use :
       {MemoryUse::parameters, MemoryUse::gradients, MemoryUse::optimizer_state}) {
    figures.state_bytes += static_cast<double>(usage.now_of(use));
  }
  for (const MemoryUse use : {MemoryUse::activations, MemoryUse::communication}) {
    figures.peak_bytes += static_cast<double>(usage.peak_of(use));
  }
}

Figures Run::mean_over_ranks(Figures figures) const {
  std::vector<double> values;
  for (const double* figure : figures.all()) values.push_back(*figure);
  grid_.world().all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
  for (std::size_t i = 0; i < values.size(); ++i) {
    *figures.all()[i] = values[i] / grid_.world().size();
  }
  return figures;
}

}  // namespace train::bench
