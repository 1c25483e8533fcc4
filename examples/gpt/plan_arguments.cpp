#include "examples/gpt/plan_arguments.hpp"

#include <fmt/format.h>

#include "examples/gpt/arguments.hpp"
#include "examples/gpt/quantities.hpp"
#include "examples/gpt/shape_arguments.hpp"

namespace {

constexpr const char* footer =
    "Says how so many ranks should share a model: grid, ZeRO stage, rows between split layers,\n"
    "recomputation and micro-batch, with the memory of a rank and the time of a step for each,\n"
    "and the flags to type. Grids are data x tensor or data x context x tensor ranks; zero 3/8 is\n"
    "stage 3 with --zero-ranks 8. What is given of --data-parallel, --context-parallel,\n"
    "--tensor-parallel, --zero, --zero-ranks, --sequence-parallel, --recompute and --micro-batch\n"
    "is kept. With --clusters, a lane's memory counts, too. Exit status 2: nothing fits, and the\n"
    "last line says what would. Nothing is trained, and no other rank is needed.";

/// What devices do, where nothing is said.
struct Defaults {
  const char* node_rate;
  const char* network_rate;
  const char* memory_rate;
  double latency_us;
};
constexpr Defaults gpu_defaults{"300GB/s", "50GB/s", "2500GB/s", 20.0};
constexpr Defaults cpu_defaults{"2GB/s", "10gbit", "10GB/s", 60.0};

void add_place_flags(CLI::App& app, PlanArguments& arguments) {
  app.add_option("--ranks", arguments.ranks, "That there are")->required()->check(at_least(1));
  app.add_option("--ranks-per-node", arguments.ranks_per_node, "Of these, on one node [all]")
      ->check(at_least(1));
  app.add_option("--memory", arguments.memory, "That a rank has: 80GB, 79GiB")->required();
  auto* peak = app.add_option("--device-tflops", arguments.device_tflops,
                              "Peak of a rank's matrix products in --dtype, by its data sheet")
                   ->check(above_zero());
  app.add_option("--utilisation", arguments.utilisation, "Of that peak, in passes: about the MFU")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  app.add_option("--tokens-per-s", arguments.tokens_per_s,
                 "Instead: what one rank alone was measured to train of this model and --batch")
      ->check(above_zero())
      ->excludes(peak);
  app.add_option("--node-rate", arguments.node_rate,
                 fmt::format("That a rank sends to others of its node [{}; {} with --device cpu]",
                             gpu_defaults.node_rate, cpu_defaults.node_rate));
  app.add_option("--network-rate", arguments.network_rate,
                 fmt::format("That a node sends to others, all its ranks together [{}; {}]",
                             gpu_defaults.network_rate, cpu_defaults.network_rate));
  app.add_option("--memory-rate", arguments.memory_rate,
                 fmt::format("Of a rank's memory [{}; {}]", gpu_defaults.memory_rate,
                             cpu_defaults.memory_rate));
  app.add_option("--latency-us", arguments.latency_us,
                 fmt::format("Of a message between ranks [{}; {}]", gpu_defaults.latency_us,
                             cpu_defaults.latency_us))
      ->check(above_zero());
  app.add_option("--lines", arguments.lines, "Of the table")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_flag("--json", arguments.json, "For machines");
}

void add_clusters_flags(CLI::App& app, PlanArguments& arguments) {
  CLI::Option* clusters =
      app.add_option("--clusters", arguments.clusters, "Of the job, this one among them")
          ->group(job_group)
          ->check(at_least(1))
          ->capture_default_str();
  add_needing(*clusters, app, [&] { add_round_flags(app, arguments.training); });
}

// What a rank has beside its part of the model, where there are other clusters.
void count_lanes(PlanArguments& arguments) {
  finish_rounds(arguments.training);
  const train::RoundOptions& rounds = arguments.training.rounds;
  train::TrainingShape& shape = arguments.question.training;
  arguments.lane = train::forecast_lanes(
      shape.config, {.rounds = rounds, .ranks = arguments.ranks, .clusters = arguments.clusters});
  shape.lane_bytes = arguments.lane.peak();
  shape.optimizer.moments = rounds.synchronisation == train::Synchronisation::rounds;
}

train::GptConfig config_of(const TrainArguments& training) {
  train::GptConfig config = train::parse_model(training.model);
  if (training.context != 0) config.context = training.context;
  if (training.vocabulary != 0) config.vocabulary = training.vocabulary;
  config.bias = config.bias && training.bias;
  config.dropout = training.dropout;
  config.validate();
  return config;
}

double flops_of(const PlanArguments& arguments, const train::GridQuestion& question) {
  if (arguments.device_tflops > 0.0) return 1e12 * arguments.device_tflops * arguments.utilisation;
  if (arguments.tokens_per_s <= 0.0) {
    throw train::Error(
        "how fast is a rank? --device-tflops gives its peak by the data sheet (H100: 989, A100: "
        "312, both bf16), --tokens-per-s what it was measured to train alone");
  }
  return train::flops_measured(question.training, arguments.tokens_per_s,
                               question.device.memory_bytes);
}

void ask_for_rates(const PlanArguments& arguments, train::GridQuestion& question) {
  const Defaults& defaults = question.training.gpu ? gpu_defaults : cpu_defaults;
  const auto rate = [](const std::string& said, const char* otherwise, const char* flag) {
    return parse_bytes_per_s(said.empty() ? otherwise : said, flag);
  };
  auto& between = question.interconnect;
  between.ranks_per_node =
      arguments.ranks_per_node == 0 ? arguments.ranks : arguments.ranks_per_node;
  between.node_rate = rate(arguments.node_rate, defaults.node_rate, "--node-rate");
  between.network_rate = rate(arguments.network_rate, defaults.network_rate, "--network-rate");
  between.latency_s =
      1e-6 * (arguments.latency_us > 0.0 ? arguments.latency_us : defaults.latency_us);
  between.rings = question.training.gpu;
  question.device.memory_bytes = rate(arguments.memory_rate, defaults.memory_rate, "--memory-rate");
  question.device.flops = flops_of(arguments, question);
}

// What is on the command line is decided.
void keep_decided(const CLI::App& app, const TrainArguments& training,
                  train::GridQuestion& question) {
  const auto said = [&](const char* flag) { return app.count(flag) > 0; };
  if (said("--data-parallel")) question.data = training.grid.data;
  if (said("--context-parallel")) question.context = training.grid.context;
  if (said("--tensor-parallel")) question.tensor = training.grid.tensor;
  if (said("--zero")) question.zero = train::zero_from(training.zero);
  if (said("--zero-ranks")) question.shard = training.grid.shard;
  if (said("--sequence-parallel")) question.sequence_parallel = training.sequence_parallel;
  if (said("--recompute")) question.recompute = train::recompute_from(training.recompute);
  if (said("--micro-batch")) question.micro_batch = training.trainer.micro_batch;
}

}  // namespace

std::optional<int> parse_plan_arguments(const train::Job& job, PlanArguments& arguments) {
  CLI::App app("Chooses how ranks share a model.", "plan_grid");
  app.footer(footer);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_place_flags(app, arguments);
  TrainArguments& training = arguments.training;
  add_model_flags(app, training);
  add_parallel_flags(app, training);
  add_batch_flags(app, training);
  add_clusters_flags(app, arguments);
  if (const auto status = parse_arguments(app, job)) return status;
  training.bias_given = app.count("--bias") > 0;
  train::require_device_name(training.grid.device);

  train::GridQuestion& question = arguments.question;
  question.training = training_shape(training, config_of(training), {});
  question.ranks = arguments.ranks;
  question.batch = training.trainer.batch;
  question.memory_bytes = parse_bytes(arguments.memory, "--memory");
  if (arguments.clusters > 1) count_lanes(arguments);
  ask_for_rates(arguments, question);
  keep_decided(app, training, question);
  return std::nullopt;
}
