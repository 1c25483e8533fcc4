// Trains a GPT on text or token shards.
//
//   mpirun -np 2 build/bin/train_gpt --data text.txt --model nano --steps 500 --batch 16
//          --save-weights model.safetensors
//   mpirun -np 2 build/bin/train_gpt … --checkpoint runs/a --save-every 100 --resume
//
// Shows a line with step, loss, tokens/s and the time left; `--help` lists the flags.

#include <filesystem>
#include <limits>

#include <fmt/format.h>

#include "examples/gpt/arguments.hpp"
#include "examples/gpt/checkpoint_arguments.hpp"
#include "examples/gpt/starting_weights.hpp"
#include "examples/gpt/train_arguments.hpp"

namespace {

train::TokenDataset open_dataset(const TrainArguments& arguments,
                                 const std::shared_ptr<const train::Tokenizer>& saved) {
  train::TokenDatasetOptions options;
  options.context = static_cast<std::size_t>(arguments.context);
  options.seed = arguments.seed;
  if (arguments.validation_fraction >= 0.0) {
    options.validation_fraction = arguments.validation_fraction;
  }
  options.validation = arguments.validation_data;
  options.tokenizer = arguments.tokenizer;
  // A model goes on with the tokenizer it was trained with.
  if (saved != nullptr && arguments.tokenizer.empty()) {
    return train::TokenDataset(train::open_data(arguments.data, saved), options);
  }
  return train::TokenDataset(arguments.data, options);
}

train::GptConfig new_config(const TrainArguments& arguments, const train::TokenDataset& data) {
  train::GptConfig config = train::parse_model(arguments.model);
  if (arguments.context != 0) config.context = arguments.context;
  if (arguments.vocabulary != 0) {
    config.vocabulary = arguments.vocabulary;
  } else if (data.tokenizer() != nullptr) {
    config.vocabulary = data.tokenizer()->vocabulary_size();
  }
  config.bias = config.bias && arguments.bias;
  config.dropout = arguments.dropout;
  return config;
}

train::OptimizerOptions optimizer_options(const TrainArguments& arguments) {
  return {.zero = train::zero_from(arguments.zero),
          .bucket_bytes = arguments.bucket_mib << 20,
          .gradient_type = parse_dtype(arguments.gradient_dtype, "--grad-dtype"),
          .resident_elements = arguments.resident_elements,
          .moments = !arguments.in_job() ||
                     arguments.rounds.synchronisation == train::Synchronisation::rounds};
}

// A machine that begins to swap, or kills the program, gives no reason.
void warn_of_memory(const train::Job& job, const TrainArguments& arguments,
                    const train::GptConfig& config, const train::Grid& grid) {
  if (grid.device().gpu() || job.place_on_node().rank != 0) return;
  const std::int64_t each = train::state_bytes_per_rank(config, parse_dtype(arguments.dtype),
                                                        optimizer_options(arguments),
                                                        grid.data().size(), grid.tensor().size());
  const std::int64_t needed = each * job.ranks_on_node();
  const auto available = train::available_host_bytes();
  if (!available || needed <= *available) return;
  constexpr double gib = 1 << 30;
  train::log_line(fmt::format(
      "warning: parameters, gradients and optimizer state of this machine's {} take {:.1f} GiB, of "
      "{:.1f} that are left; --zero 3 and --tensor-parallel share them out over more ranks",
      job.ranks_on_node() == 1 ? "rank" : fmt::format("{} ranks", job.ranks_on_node()),
      static_cast<double>(needed) / gib, static_cast<double>(*available) / gib));
}

void report_memory(const train::Grid& grid) {
  const std::string report = train::memory_report(grid.device(), grid.world());
  if (grid.rank() != 0) return;
  fmt::print("{}", report);
  std::fflush(stdout);
}

// The last step whose metrics a resumed run keeps. A cluster that comes back to its job does not
// train again what it trained before.
std::int64_t last_step_of(const train::ShardedOptimizer& optimizer, const train::Rounds* rounds) {
  return rounds == nullptr ? optimizer.steps_done() : std::numeric_limits<std::int64_t>::max();
}

// Progress on rank 0. Other lines go above it where it is one line that is rewritten.
Say add_console(const TrainArguments& arguments, const train::Grid& grid, train::Trainer& trainer) {
  if (grid.rank() != 0) return train::log_line;
  train::ConsoleOptions options;
  options.progress = train::progress_from(arguments.progress);
  options.steps_total = arguments.trainer.steps;
  auto console = std::make_unique<train::ConsoleSink>(options);
  train::ConsoleSink* shown = console.get();
  trainer.add_sink(std::move(console));
  if (!shown->live()) return train::log_line;
  return [shown](const std::string& line) { shown->print(line); };
}

// `resumed_at` is the step that a resumed run goes on behind.
void add_metrics(const TrainArguments& arguments, const train::Grid& grid,
                 std::optional<std::int64_t> resumed_at, const Say& say, train::Trainer& trainer) {
  if (grid.rank() != 0) return;
  const auto add = [&](std::unique_ptr<train::MetricsSink> sink) {
    trainer.add_sink(std::make_unique<train::PatientSink>(
        std::move(sink), [say](const std::string& what) { say("warning: " + what); }));
  };
  if (!arguments.metrics.empty()) {
    add(std::make_unique<train::JsonlSink>(arguments.metrics, resumed_at));
  }
  if (!arguments.tensorboard.empty()) {
    add(std::make_unique<train::TensorBoardSink>(arguments.tensorboard, resumed_at));
  }
}

// A run must not find out at its end that its weights cannot be written.
void check_writable(const std::string& path) {
  if (path.empty()) return;
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) {
    throw train::Error(fmt::format("--save-weights {}: is a directory; name a file in it", path));
  }
  train::AtomicFile{path};
}

// What clusters must have in common beside what the rounds know themselves. Dropout is a cluster's
// own matter.
std::string agreement_of(const TrainArguments& arguments, train::GptConfig config,
                         const train::TokenDataset& data) {
  config.dropout = 0.0f;
  return fmt::format("{} seed {} data {}, {} held out", config.to_json(), arguments.seed,
                     data.identity(), data.validation_tokens());
}

// This cluster's part in a job of several; it lives as long as the trainer runs.
std::unique_ptr<train::Rounds> join_job(const TrainArguments& arguments, const train::Grid& grid,
                                        train::ShardedOptimizer& optimizer,
                                        const std::string& agreement,
                                        const train::StopSignal& signal, const Say& say) {
  if (!arguments.in_job()) return nullptr;
  train::JobOptions job = arguments.job;
  job.agreement = agreement;
  job.leaves = [&signal] { return signal.received(); };
  job.on_log = [say, rank = grid.rank()](const std::string& line) {
    say(fmt::format("rank {}: {}", rank, line));
  };
  return std::make_unique<train::Rounds>(grid, optimizer, arguments.rounds, std::move(job));
}

void announce(const train::Job& job, const TrainArguments& arguments, const train::Gpt& model,
              const train::TokenDataset& data, const train::Device& device) {
  if (!job.is_root() || arguments.progress == "none") return;
  const train::GptConfig& config = model.config();
  fmt::print(
      "model: {:.2f} M parameters, {} layers of width {}, {} heads, vocabulary {}, context {}, "
      "{}\n",
      static_cast<double>(config.parameter_count()) / 1e6, config.layers, config.width,
      config.heads, config.vocabulary, data.context(), arguments.dtype);
  fmt::print("data: {} tokens to train on, {} held out\n", data.train_tokens(),
             data.validation_tokens());
  if (data.unmarked_texts() > 0) {
    fmt::print("note: {} texts follow each other without a mark: the tokenizer {} has none\n",
               data.unmarked_texts(), data.tokenizer()->name());
  }
  fmt::print("{} on {}\n", job.size() == 1 ? "1 rank" : fmt::format("{} ranks, each", job.size()),
             device.ops().description());
  std::fflush(stdout);
  if (data.validation_tokens() == 0 && arguments.trainer.eval_every > 0) {
    train::log_line("warning: --eval-every: nothing is held out; give --val-data or more data");
  }
}

std::shared_ptr<const train::Tokenizer> saved_tokenizer(const std::optional<StartingWeights>& start,
                                                        const std::optional<train::RunState>& run) {
  if (run) return run->tokenizer;
  return start ? start->tokenizer() : nullptr;
}

// --init brings its model; flags beside it may say what it is, but not change it.
void require_same_model(const TrainArguments& arguments, const train::TokenDataset& data,
                        const train::GptConfig& start) {
  train::GptConfig said = arguments.model_given ? new_config(arguments, data) : start;
  said.context = start.context;
  said.dropout = start.dropout;
  said.vocabulary = arguments.vocabulary != 0 ? arguments.vocabulary : start.vocabulary;
  said.bias = arguments.bias_given ? arguments.bias : start.bias;
  if (said == start) return;
  throw train::Error(fmt::format(
      "--init {} is another model than --model, --vocab and --bias say: its {}; leave them out",
      arguments.init, start.difference_from(said)));
}

train::GptConfig choose_config(const TrainArguments& arguments, const train::TokenDataset& data,
                               const std::optional<StartingWeights>& start,
                               const std::optional<train::RunState>& run) {
  train::GptConfig config;
  if (run && !arguments.model_given) {
    config = run->config;
  } else {
    config = start ? start->config() : new_config(arguments, data);
  }
  if (start) require_same_model(arguments, data, start->config());
  config.dropout = arguments.dropout;
  if (!run) return config;
  train::GptConfig saved = run->config;
  saved.dropout = config.dropout;
  if (config != saved) {
    throw train::Error(
        fmt::format("the run in {} trains another model than the flags (--model, --context, "
                    "--vocab, --bias) and the tokenizer make: its {}; leave them out, or choose "
                    "another --checkpoint",
                    arguments.checkpoint, saved.difference_from(config)));
  }
  return config;
}

train::Clock::time_point end_of_time(const TrainArguments& arguments) {
  constexpr double year = 366.0 * 24.0 * 60.0;
  if (arguments.stop_after_minutes <= 0.0 || arguments.stop_after_minutes > year)
    return train::Clock::time_point::max();
  const std::chrono::duration<double, std::ratio<60>> minutes(arguments.stop_after_minutes);
  return train::Clock::now() + std::chrono::duration_cast<train::Clock::duration>(minutes);
}

std::string stop_notice(const TrainArguments& arguments, std::int64_t step) {
  return fmt::format("stopped, as asked, after step {} of {}{}", step, arguments.trainer.steps,
                     arguments.checkpoint.empty() ? "" : "; --resume goes on from there");
}

int train_gpt(train::Job& job) {
  TrainArguments arguments;
  if (const auto status = parse_train_arguments(job, arguments)) return *status;
  job.world().set_timeout(std::chrono::seconds(arguments.timeout_s));
  const train::Grid grid = job.grid(arguments.grid);

  const auto store = open_store(arguments);
  const std::optional<train::RunState> run = find_run(store.get(), arguments, grid.world());
  if (run) go_on_with(*run, arguments);
  std::optional<StartingWeights> start;
  if (!run && !arguments.init.empty()) start.emplace(arguments.init);
  train::TokenDataset data = open_dataset(arguments, saved_tokenizer(start, run));
  const train::GptConfig config = choose_config(arguments, data, start, run);
  warn_of_memory(job, arguments, config, grid);

  train::Gpt model(
      config, grid.device(),
      {parse_dtype(arguments.dtype), arguments.seed, train::recompute_from(arguments.recompute)});
  train::parallelize(model, grid, train::megatron_plan(arguments.sequence_parallel));
  if (start) start->load(model);
  train::ShardedOptimizer optimizer(model, grid, arguments.adamw, optimizer_options(arguments));
  train::Trainer trainer(grid, model, optimizer, data, arguments.trainer);
  const Say say = add_console(arguments, grid, trainer);
  const train::StopSignal signal;
  trainer.stop_when([&signal, over = end_of_time(arguments)] {
    return signal.received() || train::Clock::now() >= over;
  });
  const auto rounds =
      join_job(arguments, grid, optimizer, agreement_of(arguments, config, data), signal, say);
  const auto checkpoints = attach_checkpoints(arguments, store.get(), grid, optimizer,
                                              {.config = config,
                                               .tokenizer = data.tokenizer(),
                                               .seed = arguments.seed,
                                               .data = data.identity(),
                                               .more = {}},
                                              rounds.get(), trainer, say);
  if (rounds) trainer.set_rounds(*rounds);
  if (job.is_root()) check_writable(arguments.save_weights);
  announce(job, arguments, model, data, grid.device());
  add_metrics(arguments, grid,
              run ? std::optional(last_step_of(optimizer, rounds.get())) : std::nullopt, say,
              trainer);
  if (!arguments.trace.empty()) {
    trainer.add_trace(std::make_unique<train::Trace>(grid.world(), arguments.trace),
                      arguments.trace_steps);
  }
  train::reset_memory_peaks(grid.device());
  trainer.run();
  if (rounds && job.is_root()) train::log_line(rounds->ending());
  if (rounds && rounds->egress() != nullptr) {
    train::log_line("egress: " + rounds->egress()->summary());
  }
  if (trainer.stopped() && job.is_root())
    train::log_line(stop_notice(arguments, optimizer.steps_done()));
  if (arguments.report_memory) report_memory(grid);
  if (!arguments.save_weights.empty()) {
    train::save_weights(arguments.save_weights, config, optimizer.parameters(), grid.world(),
                        data.tokenizer().get());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, train_gpt);
}
